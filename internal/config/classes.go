package config

import (
	"errors"
	"fmt"
	"strings"

	"millrace/schema"
)

// Class is a word for a class of messages, beside those that are built in.
type Class struct {
	Word    string
	Class   string
	Group   string
	Meaning string
	Advice  string
}

func (c *Class) keys() []key {
	word := text("word", &c.Word, "", "The word, as the filter writes it; upper and lower case, blanks, hyphens and underscores are the same.")
	word.need = true
	group := oneOf("group", &c.Group, "", "Group of that class, in place of the one that it has. A class of yours must have one.", append([]string{""}, schema.ClassGroups...)...)
	group.allowed = strings.Join(schema.ClassGroups, ", ") + ", or empty"
	return []key{
		live(word),
		live(text("class", &c.Class, "", "Class that it means: a built-in one (millrace classes lists them) or one of yours. Empty: the word itself.")),
		live(group),
		live(text("meaning", &c.Meaning, "", "What the class means, in a line.")),
		live(text("advice", &c.Advice, "", "What to do about its messages, in a line.")),
	}
}

// ClassTable is the table of class words, with the configuration's own.
func (c *Config) ClassTable() *schema.ClassTable {
	table, err := c.classTable()
	if err != nil { // a loaded configuration was checked
		return schema.BuiltinClasses()
	}
	return table
}

func (c *Config) classTable() (*schema.ClassTable, error) {
	own := make([]schema.OwnClass, len(c.Classes))
	for i, o := range c.Classes {
		own[i] = schema.OwnClass(o)
	}
	return schema.NewClassTable(own)
}

func (c *Config) checkClasses(d *decoder) {
	if d.failed("classes") {
		return
	}
	var e *schema.ClassError
	if _, err := c.classTable(); errors.As(err, &e) {
		d.report(fmt.Sprintf("classes[%d].%s", e.Index, e.Key), Problem{Text: strings.TrimSpace(err.Error())})
	}
}
