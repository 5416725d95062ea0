package arf

import (
	"bytes"
	"unicode/utf8"

	"millrace/schema"
)

// How much is kept of one value, while the event's limit lasts.
const (
	wordMax        = 1 << 10
	textMax        = 4 << 10
	extraMax       = 16 << 10
	listMax        = 64 << 10 // of all entries of one field
	extrasMax      = 64 << 10 // of all entries
	descriptionMax = 16 << 10
	headersMax     = 128 << 10
)

// overhead is what a value takes in a record beside its bytes.
const overhead = 16

// budget is what an event may still grow by.
type budget struct{ left int }

// text is v as an event may hold it: valid UTF-8 without NUL, of most bytes and no more
// than is left. flags says what that took.
func (b *budget) text(v []byte, most int, flags *schema.Flag) []byte {
	most = min(most, b.left-overhead)
	if most <= 0 {
		if len(v) > 0 {
			*flags |= schema.FlagCut
		}
		return nil
	}
	if len(v) > most {
		v = cut(v, most)
		*flags |= schema.FlagCut
	}
	if !schema.IsClean(v) {
		if !utf8.Valid(v) {
			v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
			*flags |= schema.FlagBadUTF8
		}
		if bytes.IndexByte(v, 0) >= 0 {
			v = bytes.ReplaceAll(v, []byte{0}, []byte("\uFFFD"))
			*flags |= schema.FlagNULByte
		}
		if len(v) > most { // U+FFFD is longer than what it stands for
			v = cut(v, most)
			*flags |= schema.FlagCut
		}
	}
	b.left -= len(v) + overhead
	return v
}

// cut is the beginning of v, not in the midst of a character.
func cut(v []byte, most int) []byte {
	for n := most; n > most-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(v[n]) {
			return v[:n]
		}
	}
	return v[:most]
}

// set sets a field of the event to a text.
func (d *Decoder) set(field int, v []byte, most int) {
	if len(v) == 0 {
		return
	}
	var flags schema.Flag
	d.e.SetText(field, d.budget.text(v, most, &flags))
	d.e.Flag(flags)
}

// extra is a field of the report that has no column.
type extra struct {
	name, value []byte
	own         bool // value is not a part of the message
}

// addExtra keeps a field for `extra`: those of one name as one, with a line each.
func (d *Decoder) addExtra(name, value []byte) {
	name = bytes.ToLower(name)
	for i := range d.extras {
		x := &d.extras[i]
		if bytes.Equal(x.name, name) {
			if !x.own {
				x.value, x.own = bytes.Clone(x.value), true
			}
			if len(x.value) <= extraMax {
				x.value = append(append(x.value, '\n'), value...)
			}
			return
		}
	}
	if len(d.extras) == extrasCount {
		d.e.Flag(schema.FlagCut)
		return
	}
	d.extras = append(d.extras, extra{name: name, value: value})
}

// extrasCount is how many names of fields are kept: a report has a dozen.
const extrasCount = 200

func (d *Decoder) addExtras() {
	room := min(extrasMax, d.budget.left)
	for _, x := range d.extras {
		var flags schema.Flag
		before := d.budget.left
		name := d.budget.text(x.name, min(wordMax, room), &flags)
		value := d.budget.text(x.value, min(extraMax, room), &flags)
		d.e.Flag(flags)
		if len(name) > 0 {
			d.e.AddPair(schema.Extra, name, value)
		}
		room -= before - d.budget.left
	}
}

// list adds entries to a repeated field until a share of the budget is used up.
type list struct{ used int }

func (d *Decoder) add(l *list, field int, v []byte) {
	var flags schema.Flag
	before := d.budget.left
	v = d.budget.text(v, min(textMax, listMax-l.used), &flags)
	l.used += before - d.budget.left
	d.e.Flag(flags)
	if len(v) > 0 {
		d.e.AddName(field, v)
	}
}
