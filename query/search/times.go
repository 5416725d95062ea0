package search

import (
	"fmt"
	"strings"
	"time"

	"millrace/internal/config"
)

// ParseTime reads a moment: 2026-11-25, 2026-11-25 14:00, 2026-11-25 14:00:05 (in the zone),
// 2026-11-25T14:00:00Z, seconds since 1970, or how long before now, as 48h or 7d.
func ParseTime(s string, now time.Time, zone *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	if len(s) >= 9 && strings.Trim(s, "0123456789") == "" {
		var n int64
		if _, err := fmt.Sscan(s, &n); err == nil && n < 1<<33 {
			return time.Unix(n, 0).UTC(), nil
		}
	}
	if ago, err := config.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot read the time %q: want 2026-11-25, 2026-11-25 14:00, 2026-11-25T14:00:00Z, seconds since 1970, or how long ago, as 48h or 7d", s)
}
