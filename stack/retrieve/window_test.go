package retrieve

import (
	"testing"
	"time"

	"millrace/internal/config"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	f := func(zone string, a Asked, want, name string) {
		t.Helper()
		loc, err := config.ParseTimeZone(zone)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 10, 26, 14, 30, 0, 0, loc)
		w, err := a.Window(now)
		if err != nil {
			t.Fatal(err)
		}
		if w.String() != want {
			t.Errorf("%+v in %s:\n got %s\nwant %s", a, zone, w, want)
		}
		if got := FileName([]string{"outgoing"}, a, w); got != "quarantine-outgoing-"+name+".csv" {
			t.Errorf("%+v in %s: %s", a, zone, got)
		}
	}
	f("UTC", Asked{}, "2026-10-25T00:00:00Z to 2026-10-26T00:00:00Z", "2026-10-25")
	f("UTC", Asked{Today: true}, "2026-10-26T00:00:00Z to 2026-10-27T00:00:00Z", "2026-10-26")
	// Yesterday has 25 hours; the day of --to too.
	f("Europe/Amsterdam", Asked{}, "2026-10-25T00:00:00+02:00 to 2026-10-26T00:00:00+01:00", "2026-10-25")
	f("Europe/Amsterdam", Asked{From: "2026-10-24", To: "2026-10-25"}, "2026-10-24T00:00:00+02:00 to 2026-10-26T00:00:00+01:00", "20261024T000000-20261026T000000")
	f("America/Sao_Paulo", Asked{From: "2018-11-04", To: "2018-11-04"}, "2018-11-04T01:00:00-02:00 to 2018-11-05T00:00:00-02:00", "2018-11-04")
	f("UTC", Asked{Since: "1h"}, "2026-10-26T13:30:00Z to 2026-10-27T14:30:00Z", "20261026T133000")
	f("UTC", Asked{Since: "2d"}, "2026-10-24T14:30:00Z to 2026-10-27T14:30:00Z", "20261024T143000")
	f("+02:00", Asked{Since: "2026-10-20"}, "2026-10-20T00:00:00+02:00 to 2026-10-27T14:30:00+02:00", "20261020T000000")
	f("+02:00", Asked{From: "2026-10-20 08:00", To: "2026-10-20T09:30:15"}, "2026-10-20T08:00:00+02:00 to 2026-10-20T09:30:15+02:00", "20261020T080000-20261020T093015")
	f("+02:00", Asked{From: "2026-10-20T08:00:00Z"}, "2026-10-20T10:00:00+02:00 to 2026-10-27T14:30:00+02:00", "20261020T100000")
}

func TestWindow_Failure(t *testing.T) {
	t.Parallel()
	for _, a := range []Asked{
		{Today: true, Since: "1h"}, {Today: true, From: "2026-10-20"}, {Since: "1h", To: "2026-10-20"}, {To: "2026-10-20"},
		{Since: "an hour"}, {From: "yesterday"}, {From: "2026-10-20", To: "24:00"}, {From: "2026-10-20", To: "2026-10-19"},
		{From: "2026-10-20T08:00", To: "2026-10-20T08:00"}, {From: "2030-01-01"}, {Since: "2030-01-01"},
	} {
		if w, err := a.Window(noon); err == nil {
			t.Errorf("%+v: %s", a, w)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"": "", "a": "a", "a=1": "a=1", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\t=1": "'\t=1", "\r=1": "'\r=1", "'=1": "'=1", "ü": "ü",
	} {
		if got := Guard(v); got != want {
			t.Errorf("%q: %q", v, got)
		}
	}
}
