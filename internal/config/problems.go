package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File         string
	Line, Column int // 0: the key was not written
	Key          string
	Got          string // quoted, or a description
	Allowed      string
	Why          string // what is wrong with Got, when that is not plain
	Text         string // instead of Got and Allowed
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.File == "" {
		b.WriteString("defaults")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": ")
	if p.Text != "" {
		b.WriteString(p.Text)
		return b.String()
	}
	b.WriteString("got " + p.Got)
	if p.Why != "" {
		b.WriteString(" (" + p.Why + ")")
	}
	b.WriteString("; allowed " + p.Allowed)
	return b.String()
}

// Problems is everything that is wrong with a configuration, in its order.
type Problems struct {
	File string
	List []Problem
}

func (p *Problems) Error() string {
	what := "the default configuration"
	if p.File != "" {
		what = "configuration " + p.File
	}
	var b strings.Builder
	if len(p.List) == 1 {
		fmt.Fprintf(&b, "cannot use %s:", what)
	} else {
		fmt.Fprintf(&b, "cannot use %s, %d problems:", what, len(p.List))
	}
	for _, one := range p.List {
		b.WriteString("\n  " + one.Error())
	}
	return b.String()
}

// ExitCode is that of a wrong configuration.
func (p *Problems) ExitCode() int { return 2 }

// Wrong reports a problem that only the user of a setting can see, such as a
// template that does not compile, at the place where key ("formats[0].template")
// was written.
func (c *Config) Wrong(key string, err error) error {
	d := decoder{file: c.File, where: c.where}
	d.report(key, Problem{Text: err.Error()})
	return &Problems{c.File, d.problems}
}

// FileError says that the file could not be read.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return "cannot read configuration: " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// ExitCode is that of a wrong configuration.
func (e *FileError) ExitCode() int { return 2 }

// nearest is the key that name is most likely a slip of; empty: none is near.
func nearest(name string, keys []key) string {
	best, near := 3, ""
	if len(name) <= 3 {
		best = 2
	}
	plain := strings.NewReplacer("-", "", "_", "", " ", "")
	for _, k := range keys {
		if strings.EqualFold(plain.Replace(k.name), plain.Replace(name)) {
			return k.name
		}
		if d := distance(name, k.name); d < best {
			best, near = d, k.name
		}
	}
	return near
}

// distance is the number of letters to add, drop, change or swap with their
// neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
