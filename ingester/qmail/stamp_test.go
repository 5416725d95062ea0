package qmail

import (
	"testing"
	"time"

	"millrace/schema"
)

// read is one line's stamp and what it is to be read as.
type read struct {
	stamp, want string // want in UTC; empty: no time
	flags       schema.Flag
}

func TestClock(t *testing.T) {
	t.Parallel()
	f := func(name, zone string, lines ...read) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			c := clock{zone: loc}
			for _, l := range lines {
				ms, flags, ok := c.read([]byte(l.stamp))
				got := ""
				if ok {
					got = time.UnixMilli(ms).UTC().Format(time.DateTime)
				}
				if got != l.want || flags != l.flags {
					t.Errorf("%s: %q, flags %v; want %q, %v", l.stamp, got, flags.Words(), l.want, l.flags.Words())
				}
			}
		})
	}
	again, gap := schema.FlagTZRepeated, schema.FlagTZGap
	f("plain", "Europe/Sofia",
		read{"2021-03-09 12:43:51", "2021-03-09 10:43:51", 0}, read{"2021-07-09 12:43:51", "2021-07-09 09:43:51", 0}, read{"2021-03-09T12:43:51", "2021-03-09 10:43:51", 0})
	f("the hour that is repeated, in the file's order", "Europe/Sofia",
		read{"2021-10-31 02:59:59", "2021-10-30 23:59:59", 0},
		read{"2021-10-31 03:10:00", "2021-10-31 00:10:00", again}, read{"2021-10-31 03:59:59", "2021-10-31 00:59:59", again},
		read{"2021-10-31 03:00:00", "2021-10-31 01:00:00", again}, read{"2021-10-31 03:59:00", "2021-10-31 01:59:00", again},
		read{"2021-10-31 04:00:00", "2021-10-31 02:00:00", 0})
	f("a little out of order is no second hour", "Europe/Sofia",
		read{"2021-10-31 03:10:00", "2021-10-31 00:10:00", again}, read{"2021-10-31 03:08:00", "2021-10-31 00:08:00", again})
	f("the hour that is left out", "Europe/Sofia", read{"2021-03-28 02:59:59", "2021-03-28 00:59:59", 0}, read{"2021-03-28 03:30:00", "2021-03-28 01:30:00", gap}, read{"2021-03-28 04:00:00", "2021-03-28 01:00:00", 0})
	f("half an hour", "Australia/Lord_Howe",
		read{"2021-04-04 01:29:00", "2021-04-03 14:29:00", 0}, read{"2021-04-04 01:40:00", "2021-04-03 14:40:00", again},
		read{"2021-04-04 01:59:00", "2021-04-03 14:59:00", again}, read{"2021-04-04 01:31:00", "2021-04-03 15:01:00", again}, read{"2021-04-04 02:00:00", "2021-04-03 15:30:00", 0})
	f("leap days and year ends", "Europe/Sofia",
		read{"2020-02-29 23:59:59", "2020-02-29 21:59:59", 0}, read{"2021-02-29 12:00:00", "", 0}, read{"2100-02-29 12:00:00", "", 0}, read{"2000-02-29 12:00:00", "2000-02-29 10:00:00", 0},
		read{"2020-12-31 23:59:59", "2020-12-31 21:59:59", 0}, read{"2021-01-01 00:00:00", "2020-12-31 22:00:00", 0},
		read{"2016-12-31 23:59:60", "2016-12-31 21:59:59", schema.FlagLeapSecond})
	f("none", "UTC", read{"2021-13-01 00:00:00", "", 0}, read{"2021-00-01 00:00:00", "", 0}, read{"2021-01-32 00:00:00", "", 0}, read{"2021-01-01 24:00:00", "", 0},
		read{"2021-01-01 00:60:00", "", 0}, read{"2021-01-01 00:00:61", "", 0}, read{"2021-01-01 00:00", "", 0}, read{"2021/01/01 00:00:00", "", 0}, read{"9999-01-01 00:00:00", "", 0})
}
