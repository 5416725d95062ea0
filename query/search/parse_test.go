package search

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`sender is a@example.org`:                                      `{"field":"sender","op":"is","values":["a@example.org"]}`,
		`sender is not ''`:                                             `{"field":"sender","op":"is","values":[""],"not":true}`,
		`status_norm = delivered`:                                      `{"field":"status_norm","op":"is","values":["delivered"]}`,
		`subject_header contains "it's \"new\", (ok)"`:                 `{"field":"subject_header","op":"contains","values":["it's \"new\", (ok)"]}`,
		`subject_header does not contain and`:                          `{"field":"subject_header","op":"contains","values":["and"],"not":true}`,
		`id one of a, "b c",d`:                                         `{"field":"id","op":"one of","values":["a","b c","d"]}`,
		`sender_ip in network 192.0.2.0/24, ::/0`:                      `{"field":"sender_ip","op":"in network","values":["192.0.2.0/24","::/0"]}`,
		`incoming_size in range 10..20`:                                `{"field":"incoming_size","op":"in range","values":["10","20"]}`,
		`incoming_size in range 10..`:                                  `{"field":"incoming_size","op":"in range","values":["10",""]}`,
		`first_time in range ..2026-11-25`:                             `{"field":"first_time","op":"in range","values":["","2026-11-25"]}`,
		`first_time in range "2026-11-25 14:00" .. "2026-11-25 15:00"`: `{"field":"first_time","op":"in range","values":["2026-11-25 14:00","2026-11-25 15:00"]}`,
		`a is 1 or b is 2 and c is 3`:                                  `{"any":[{"field":"a","op":"is","values":["1"]},{"all":[{"field":"b","op":"is","values":["2"]},{"field":"c","op":"is","values":["3"]}]}]}`,
		`not (a is 1 or b is 2) AND c IS 3`:                            `{"all":[{"any":[{"field":"a","op":"is","values":["1"]},{"field":"b","op":"is","values":["2"]}],"not":true},{"field":"c","op":"is","values":["3"]}]}`,
		`not not a starts with x`:                                      `{"field":"a","op":"starts","values":["x"]}`,
		`a is one of x, y and b ends z`:                                `{"all":[{"field":"a","op":"one of","values":["x","y"]},{"field":"b","op":"ends","values":["z"]}]}`,
	} {
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s:\n%s, want\n%s", text, got, want)
		}
	}
}

func TestParse_Errors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                    `want a field`,
		`sender`:                              `want is, is not, contains`,
		`sender is`:                           `want a value`,
		`sender is "a`:                        `the quote at character 11 is never closed`,
		`(sender is a`:                        `want )`,
		`sender is a b`:                       `"b" at character 13: want and, or or the end`,
		`sender is a and`:                     `want a field`,
		`"sender" is a`:                       `"sender" at character 1: want a field`,
		`size in range 5`:                     `want a range, as 10..20`,
		`sender is ,`:                         `want a value`,
		strings.Repeat("not ", 50) + "a is b": `more than 20 deep`,
		strings.Repeat("(", 50) + "a is b":    `more than 20 deep`,
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// Whatever is read makes SQL or an error, and no value of it is in the SQL.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`sender ends "@example.com" and (status_norm is quarantined or not subject_header contains invoice)`,
		`sender_ip in network 192.0.2.0/24, 2001:db8::/32 and incoming_size in range 1000000..`,
		`extra.x is "'); DROP TABLE message_events --"`,
		`first_time in range "2026-11-25 14:00" .. 1h`, `not (`, `'`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		w := writer{relation: Relations()[0], params: map[string]string{}}
		sql, err := w.rule(r, 0)
		if err != nil {
			return
		}
		for i := range sql {
			if c := sql[i]; c < ' ' || c > '~' || c == ';' || c == '-' && i > 0 && sql[i-1] == '-' {
				t.Fatalf("%q has %q", sql, c)
			}
		}
	})
}
