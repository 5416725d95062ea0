package query

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/schema"
)

func TestParseReport(t *testing.T) {
	t.Parallel()
	r, err := parseReport("own/mine.sql", `-- title: Mine
-- description: What it
-- description: says.
-- a remark
--
-- param: a DateTime64(3, 'UTC') = now | when
-- param: b String = | nothing
-- param: c String =
-- choice: group_by = identity, sender,domain | what a row is
-- needs: column identity of kind message when group_by = identity | template variable %(identity)s
-- needs: column qp of kind smtp | the log

SELECT {a:DateTime64(3, 'UTC')}, {b:String}, -- {c:String}
    {group_by:String};
`)
	want := Report{
		Name: "mine", Title: "Mine", Description: "What it says.",
		Parameters: []Parameter{
			{Name: "a", Type: "DateTime64(3, 'UTC')", Default: "now", Doc: "when"}, {Name: "b", Type: "String", Doc: "nothing"}, {Name: "c", Type: "String"},
			{Name: "group_by", Type: "String", Default: "identity", Doc: "what a row is", Choices: []string{"identity", "sender", "domain"}},
		},
		Needs: []Need{
			{Column: "identity", Kind: "message", Param: "group_by", Value: "identity", Hint: "template variable %(identity)s"},
			{Column: "qp", Kind: "smtp", Hint: "the log"},
		},
		SQL: "SELECT {a:DateTime64(3, 'UTC')}, {b:String}, -- {c:String}\n    {group_by:String}",
	}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestParseReport_Failure(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SELECT 1":                               "line 1: it has no -- title:",
		"":                                       "line 1: it has no -- title:",
		"-- title: x\n":                          "line 2: it has no SELECT",
		"-- title: x\n;\n":                       "line 2: it has no SELECT",
		"-- title: x\n-- param: a\nSELECT 1":     `line 2: "-- param: a": want -- param: NAME TYPE = DEFAULT | DOC`,
		"-- title: x\n-- choice: a = \nSELECT 1": "line 2: \"-- choice: a =\": want -- choice:",
		"-- title: x\n-- needs: sugar\nSELECT 1": "want -- needs: column NAME of kind KIND",
		"-- title: x\n-- titel: y\nSELECT 1":     `line 2: "titel": want title, description, param, choice or needs`,
		"-- title: x\n-- choice: group_by = a\nSELECT 1,\n{{lock(x)}} AS a":                          `line 4: cannot expand {{lock(x)}}: want a line {{targets(USERS)}} AS targets`,
		"-- title: x\n-- choice: group_by = a\nSELECT 1, {{targets(x)}} AS targets":                  `line 3: cannot expand {{targets(x)}}: want a line {{targets(USERS)}} AS targets`,
		"-- title: x\nSELECT\n{{targets(x)}} AS targets":                                             `line 3: {{targets(x)}} is of what a row is: the report has no -- choice: group_by`,
		"-- title: x\n-- choice: g = a, b\nSELECT\n-- when g = a\n1":                                 "line 5: a part that -- when begins has no -- end",
		"-- title: x\n-- choice: g = a, b\n\n\nSELECT\n-- when g = c\n1\n-- end":                     "line 6: there is no choice g = c",
		"-- title: x\n-- choice: g = a, b\nSELECT\n-- when h = a\n1\n-- end":                         `line 4: "-- when h = a": want -- when CHOICE = WORD, WORD`,
		"-- title: x\n-- choice: g = a, b\nSELECT\n-- when g = a | b\n1\n-- end":                     `line 4: "-- when g = a | b": want -- when CHOICE = WORD, WORD`,
		"-- title: x\n-- choice: g = a, b\nSELECT\n-- when g = a\n-- when g = b\n1\n-- end":          `line 5: "-- when g = b": want -- when CHOICE = WORD, then perhaps -- otherwise, then -- end`,
		"-- title: x\nSELECT 1\n-- otherwise\n":                                                      `line 3: "-- otherwise": want -- when CHOICE = WORD`,
		"-- title: x\n-- choice: g = a\nSELECT 1\n-- when g = a\n-- otherwise\n-- otherwise\n":       `line 6: "-- otherwise": want -- when CHOICE = WORD`,
		"-- title: x\nSELECT 1\n-- end\nFROM x":                                                      `line 3: "-- end": want -- when CHOICE = WORD`,
		"-- title: x\n\nSELECT 1,\n{a:UInt8}":                                                        `line 4: parameter "a" has no -- param: or -- choice: line`,
		"-- title: x\n-- param: a String = b\nSELECT {a:UInt8}":                                      `line 3: parameter "a" is UInt8 here and String in the header`,
		"-- title: x\n-- param: a String = b\n-- choice: a = b, c\nSELECT 1":                         `line 3: parameter "a" is there twice`,
		"-- title: x\n-- needs: column id of kind none | y\nSELECT 1":                                `line 2: there is no kind "none"`,
		"-- title: x\n-- needs: column none of kind smtp | y\nSELECT 1":                              `line 2: kind smtp has no column "none"`,
		"-- title: x\n-- choice: g = a\n-- needs: column id of kind status when g = b | y\nSELECT 1": "line 3: there is no choice g = b",
	} {
		if _, err := parseReport("dir/r.sql", text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot read report dir/r.sql, line ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseReport("dir/A b.sql", "-- title: x\nSELECT 1"); err == nil || !strings.Contains(err.Error(), `"A b"`) {
		t.Error(err)
	}
}

// Of the parts of choices there is the one that is asked for; other comments stay.
func TestReport_Text(t *testing.T) {
	t.Parallel()
	r, err := parseReport("mine.sql", `-- title: Mine
-- choice: group_by = sender, domain, sender_ip, class | what a row is
-- choice: also = nothing, more
SELECT {group_by:String} AS who, -- when it was
    {{targets(users)}} AS targets
-- end of the columns
    -- when group_by = sender, domain
FROM a
    -- otherwise
FROM b
    -- end
-- when also = more
WHERE {also:String}
-- end
ORDER BY who`)
	if err != nil {
		t.Fatal(err)
	}
	const none = "    CAST([], 'Array(Tuple(domain String, user String, identity String))') AS targets\n"
	some := func(target string) string {
		return "    CAST(if(who IN ('', '<>'), [], arrayFilter(t -> t.1 != '', arraySort(arrayDistinct(arrayMap(u -> " + target + ", users))))), 'Array(Tuple(domain String, user String, identity String))') AS targets\n"
	}
	for _, w := range []struct{ by, also, want string }{
		{"sender", "nothing", some("(toString(u.1), if(u.2 = '', '*', toString(u.2)), toString(who))") + "-- end of the columns\nFROM a\nORDER BY who"},
		{"domain", "more", some("(toString(who), '*', '')") + "-- end of the columns\nFROM a\nWHERE {also:String}\nORDER BY who"},
		{"sender_ip", "nothing", none + "-- end of the columns\nFROM b\nORDER BY who"},
		{"class", "more", none + "-- end of the columns\nFROM b\nWHERE {also:String}\nORDER BY who"},
	} {
		sql, _, err := r.text(map[string]string{"group_by": w.by, "also": w.also})
		if want := "SELECT {group_by:String} AS who, -- when it was\n" + w.want; err != nil || sql != want {
			t.Errorf("%s, %s: %v\n%s\nwant\n%s", w.by, w.also, err, sql, want)
		}
	}
}

// A folder of one's own: its reports stand among the others, and what is wrong in one file
// hides none.
func TestReadReports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"aa_mine.sql":  "-- title: Mine\nSELECT 1",
		"broken.sql":   "-- title: Broken\nSELECT {x:String}",
		"outgoing.sql": "-- title: Another\nSELECT 1",
		"notes.txt":    "no report",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "more.sql"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := ReadReports(dir)
	if err == nil || !strings.Contains(err.Error(), "broken.sql, line 2: parameter \"x\"") || !strings.Contains(err.Error(), "outgoing.sql: there is a report \"outgoing\" already") || strings.Count(err.Error(), "\n") != 1 {
		t.Error(err)
	}
	if len(list) != len(Reports())+1 || list[0].Name != "aa_mine" || list[0].File != filepath.Join(dir, "aa_mine.sql") {
		t.Errorf("%d reports, the first is %+v", len(list), list[0])
	}
	if r, err := FindIn(list, "outgoing"); err != nil || r.File != "" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := FindIn(list, "none"); err == nil || !strings.Contains(err.Error(), `"none": there are aa_mine, classifications`) {
		t.Error(err)
	}
	if list, err := ReadReports(filepath.Join(dir, "absent")); err == nil || !strings.Contains(err.Error(), "reports.dir") || len(list) != len(Reports()) {
		t.Error(err)
	}
}

// Reports that are asked by others than people who look for something in a period.
var plain = []string{"events_by_status", "top_senders", "trail_of_address", "trail_of_id", "trail_of_qp"}

// Every other report has what all have: a period, a domain, a zone, a description.
func TestReports_HaveTheirParameters(t *testing.T) {
	t.Parallel()
	for _, r := range Reports() {
		if slices.Contains(plain, r.Name) {
			continue
		}
		for _, name := range []string{"since", "until", "domain", "direction", "tz"} {
			if _, ok := r.Parameter(name); !ok {
				t.Errorf("%s has no parameter %s", r.Name, name)
			}
		}
		if r.Description == "" {
			t.Errorf("%s has no description", r.Name)
		}
		for _, p := range r.Parameters {
			if p.Doc == "" || !strings.Contains(r.SQL, "{"+p.Name+":"+p.Type+"}") {
				t.Errorf("%s: parameter %s has no text or is not used", r.Name, p.Name)
			}
			for _, c := range p.Choices {
				named := strings.Contains(r.SQL, "'"+c+"'") || strings.Contains(r.SQL, "-- when "+p.Name+" = "+c+"\n")
				if !named && c != p.Choices[len(p.Choices)-1] && c != "domain" && c != "class" {
					t.Errorf("%s: choice %s of %s is not used", r.Name, c, p.Name)
				}
			}
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 14, 30, 0, 0, time.UTC)
	sofia, err := ParseZone("Europe/Sofia")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"now": "2026-11-25 14:30:00", "24h": "2026-11-24 14:30:00", "-24h": "2026-11-24 14:30:00", "7d": "2026-11-18 14:30:00", "1w": "2026-11-18 14:30:00", "1w2d3h": "2026-11-16 11:30:00", "1d12h": "2026-11-24 02:30:00", "0s": "2026-11-25 14:30:00", "-90m": "2026-11-25 13:00:00",
		"2026-11-20": "2026-11-19 22:00:00", "2026-07-20 10:00": "2026-07-20 07:00:00", "2026-07-20T10:00:05": "2026-07-20 07:00:05",
		"2026-11-20T00:00:00Z": "2026-11-20 00:00:00", "2026-11-20T00:00:00-05:00": "2026-11-20 05:00:00", "1763596800": "2025-11-20 00:00:00", " now ": "2026-11-25 14:30:00",
	} {
		if got, err := ParseTime(text, now, sofia); err != nil || got.UTC().Format(time.DateTime) != want {
			t.Errorf("%q: %v, %v, want %s", text, got.UTC(), err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "0", "12", "-1", "2026-13-01", "2107-01-01", "1969-12-31", "100000d", "1e9", "9999999999", "1'); DROP"} {
		if got, err := ParseTime(text, now, time.UTC); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for _, name := range []string{"Local", "Nowhere/City", "../etc/passwd", "UTC'"} {
		if z, err := ParseZone(name); err == nil {
			t.Errorf("%q is %v", name, z)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	r, err := FindReport("outgoing")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 14, 30, 0, 0, time.UTC)
	a, err := r.Ask(map[string]string{"since": "2026-11-20", "tz": "Europe/Sofia", "domain": " Bücher.example,A.example,"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"since": "2026-11-19 22:00:00", "until": "2026-11-25 14:30:00", "group_by": "identity", "direction": "outgoing",
		"domain": "bücher.example,xn--bcher-kva.example,a.example", "limit": "100", "class": ""} {
		if a.Values[name] != want {
			t.Errorf("%s is %q, want %q", name, a.Values[name], want)
		}
	}
	if s := a.String(); s != "outgoing, 2026-11-20 00:00:00 Europe/Sofia to 2026-11-25 16:30:00 Europe/Sofia" {
		t.Error(s)
	}
	for _, f := range []struct{ name, value, want string }{
		{"group_by", "subject", `cannot set parameter "group_by" of report outgoing to "subject": want identity, sender, auth_user, domain, sender_ip`},
		{"since", "soon", `cannot set parameter "since" of report outgoing to "soon": want a time as`},
		{"since", "now", "its period ends"},
		{"tz", "Mars", `there is no time zone "Mars"`},
		{"colour", "red", `cannot set parameter "colour" of report outgoing: it has since, until`},
	} {
		if _, err := r.Ask(map[string]string{f.name: f.value}, now); err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s = %s: %v", f.name, f.value, err)
		}
	}
}

// The file that docs/reports.md shows is one, and others than admins may run it.
func TestDocumentedReport(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```sql\n")
	text, _, _ = strings.Cut(text, "```")
	r, err := parseReport("mine.sql", text)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Ask(map[string]string{"since": "2026-11-20", "until": "2026-11-21"}, corpusDay)
	if err != nil {
		t.Fatal(err)
	}
	o := reader(t, corpusOf(t).database)
	if err := a.CheckScoped(t.Context(), o, allowedHere); err != nil {
		t.Error(err)
	}
	var out strings.Builder
	if s, err := a.Run(t.Context(), o, &out, TSV); err != nil || s.Rows < 5 {
		t.Errorf("%d rows, %v", s.Rows, err)
	}
	for _, r := range Reports() {
		if !slices.Contains(plain, r.Name) && !strings.Contains(string(page), "| `"+r.Name+"` | "+r.Title+" |") {
			t.Errorf("docs/reports.md does not list %s", r.Name)
		}
	}
}

func TestInvalidWords(t *testing.T) {
	t.Parallel()
	r, err := FindReport("invalid_senders")
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Ask(nil, time.Now())
	if want := "//invalid-sender,//unknown-sender,//sender-invalid,//sender-unknown,//sender-verify,//sender-verification"; err != nil || a.Values["invalid_sender"] != want {
		t.Errorf("%q, %v", a.Values["invalid_sender"], err)
	}
	if got := InvalidWords([]schema.Invalid{{Status: "Rejected", Class: "Block List"}, {SubClass: "a b"}}); got != "rejected/block-list/,//a-b" {
		t.Errorf("%q", got)
	}
}
