package querytest

import (
	"fmt"
	"strings"
	"time"

	"millrace/schema"
)

// Hostile are texts that would be more than a value, were they not handed over as one: to SQL,
// to ClickHouse's forms of parameters, to JSON, to a terminal, to the file system.
func Hostile() []string {
	return []string{
		`'`, `"`, "`", `\`, `\'`, `\\'`, `' OR '1'='1`, `") OR 1=1 --`, `x') OR true) --`, `'); DROP TABLE message_events; --`,
		`')) UNION ALL SELECT raw FROM rejects --`, `) UNION ALL SELECT name FROM system.tables --`, `' INTO OUTFILE '/tmp/x' --`, `' SETTINGS readonly=0 --`,
		`{p0:String}`, `{p1:Identifier}`, `{scope_domains:Array(String)}`, `],['`, `'],['example.org`, `\N`, `NULL`, `(SELECT count() FROM message_events)`,
		`--`, `/*`, `*/`, `#`, `$$`, `;`, `%`, `_`, `%00`, `../../etc/passwd`,
		"\x00", "a\x00b", "\t", "\n", "\r\n", "a\nb\tc", `\t`, `\x27`, "\x1b[31m", " ",
		"\xff\xfe", "\xc0\xa7", "é漢", "\u2018\u2019", "\uff07 OR 1=1 --", "\u202e",
		strings.Repeat("x", 10_000), strings.Repeat("(", 2_000), strings.Repeat("a,", 2_000), strings.Repeat(`{"all":[`, 500),
		"-1", "1e400", "99999999999999999999", "9223372036854775807", "2262-04-12", "1960-01-01", "9999-12-31T23:59:59Z", "-5000000h", "4294967296",
		"::ffff:192.0.2.1%lo", "@", "*", "xn--", ".",
	}
}

// Joined are all hostile texts in n values, for what is too dear to be asked for each.
func Joined(n int) []string {
	all := make([]string, n)
	for i, text := range Hostile() {
		if len(text) > 100 {
			text = text[:100]
		}
		all[i%n] += text + " "
	}
	return all
}

// Canary is in whatever of [Canaries] is not for users that own the domain and the address.
const Canary = "zxcanary"

// Canaries are inserts, for every kind of event, of rows of somebody else and of rows of the
// domain and of the address; what of those is for admins alone has the canary in it.
func Canaries(at time.Time, domain, address string) []string {
	var all []string
	for _, k := range schema.Kinds() {
		owners, asked := schema.OwnersOf(k.Table)
		in := func(names []string, name string) bool {
			for _, n := range names {
				if n == name {
					return true
				}
			}
			return false
		}
		insert := func(value func(name string) string) {
			var names, values []string
			for i, f := range k.Columns() {
				v := ""
				switch {
				case f.Name == "id":
					v = fmt.Sprintf("1lJZQT-0%05d-ZX", len(all))
				case f.Name == "direction":
					v = "outgoing"
				case f.Name == "class_norm":
					v = "spam"
				case f.Name == "status_norm":
					v = "rejected"
				default:
					v = value(f.Name)
				}
				switch f.Type {
				case schema.Millis, schema.Seconds:
					v = at.UTC().Add(time.Duration(i) * time.Second).Format(time.DateTime)
				case schema.Text, schema.Word, schema.Bytes:
				case schema.Texts, schema.Names:
					v = "['" + strings.ReplaceAll(v, ",", "','") + "']"
				case schema.Map:
					v = "{'" + v + "':'" + v + "'}"
				default:
					continue
				}
				if f.Type != schema.Texts && f.Type != schema.Names && f.Type != schema.Map {
					v = "'" + v + "'"
				}
				names, values = append(names, "`"+f.Name+"`"), append(values, v)
			}
			all = append(all, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", k.Table, strings.Join(names, ", "), strings.Join(values, ", ")))
		}
		insert(func(name string) string {
			if in(owners.Domains, name) {
				return Canary + ".example"
			}
			return Canary + "@" + Canary + ".example"
		})
		if !asked {
			continue
		}
		own := func(of []string, value string) func(name string) string {
			return func(name string) string {
				switch {
				case in(owners.Hidden, name), in(owners.Beside, name) && !in(of, name):
					return "x," + Canary
				case in(of, name) && in(owners.Recipients, name):
					return value + "," + Canary
				case in(of, name):
					return value
				}
				return ""
			}
		}
		// A row of the domain's by its name alone, and one in which the address is a recipient.
		insert(own(owners.Domains, domain))
		insert(func(name string) string {
			v := own(owners.Recipients, address)(name)
			for _, f := range k.Columns() { // of one recipient there is no other
				if f.Name == name && f.Type != schema.Texts && in(owners.Recipients, name) {
					v = address
				}
			}
			return v
		})
	}
	return all
}
