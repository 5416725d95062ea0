package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Owners name the columns of a relation that say whose a row is. By them a role sees the
// rows of its own domains or addresses, and no others.
type Owners struct {
	Domains    []string // a domain
	Users      []string // an authenticated user, USER@DOMAIN
	Senders    []string // an envelope sender
	Recipients []string // envelope recipients; of an array, only those of one's own are shown
	Identities []string // an identity of outgoing mail
	Beside     []string // arrays with an entry for each recipient, shown and hidden along with it
	Hidden     []string // empty for all but admins
	Public     bool     // nobody's data: everybody sees it
}

// owners are those of every relation that others than admins may ask. What is not here is
// the admins' alone: rejects and generic lines, which are nobody's.
var owners = map[string]Owners{
	Messages.Name: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"sender"}, Recipients: []string{"recipient"}, Identities: []string{"identity"},
		Hidden: []string{"extra"},
	},
	Classes.Name: {Public: true},
	Locks.Name:   {Domains: []string{"domain"}, Identities: []string{"identity"}},
	MessagesHourly.View.Name: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Identities: []string{"identity"},
	},
	SendersHourly.View.Name: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"sender"}, Identities: []string{"identity"},
	},
	Trail.Name: {
		Domains: []string{"domain"}, Senders: []string{"sender"}, Recipients: []string{"recipients"},
	},
	Message.Table: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"sender"}, Recipients: []string{"recipient"}, Identities: []string{"identity"},
		Hidden: hiddenFields,
	},
	Status.Table: {
		Domains: []string{"domain"}, Recipients: []string{"recipient"},
		Hidden: hiddenFields,
	},
	SMTP.Table: {
		Domains: []string{"domain"}, Senders: []string{"sender"}, Recipients: []string{"recipients"},
		Beside: []string{"recipient_codes", "recipient_replies", "checks", "check_client_names", "check_client_ips", "check_recipients", "check_details"},
		Hidden: append([]string{"reply"}, hiddenFields...), // the last reply may name a recipient
	},
	Delivery.Table: {
		Domains: []string{"domain"}, Senders: []string{"sender"}, Recipients: []string{"recipient"},
		Hidden: hiddenFields,
	},
	Spamdyke.Table: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"sender"}, Recipients: []string{"recipient"},
		Hidden: hiddenFields,
	},
	Feedback.Table: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"sender"}, Recipients: []string{"recipients"}, Identities: []string{"filter_username"},
		Hidden: append([]string{"headers", "body", "to_header", "description"}, hiddenFields...),
	},
	Quarantine.Table: {
		Domains: []string{"domain"}, Users: []string{"auth_user"}, Senders: []string{"auth_sender", "auth_email"}, Recipients: []string{"to_header"}, Identities: []string{"client"},
		Hidden: hiddenFields,
	},
}

// hiddenFields hold a frame or parts of it as they came, with whatever else is in them.
var hiddenFields = []string{"raw", "extra", "structured_data", "source_path"}

// OwnersOf are the owners of a table or view; ok is false for one that admins alone may ask.
func OwnersOf(relation string) (o Owners, ok bool) {
	o, ok = owners[relation]
	return o, ok
}

// ColumnsOf are the columns of a table or view, or nil.
func ColumnsOf(relation string) []Column {
	for _, k := range Kinds() {
		if k.Table == relation {
			return k.Columns()
		}
	}
	for _, v := range Views() {
		if v.Name == relation {
			return v.Columns
		}
	}
	return nil
}

// Columns are the columns of the kind's table.
func (k *Kind) Columns() []Column {
	var all []Column
	for _, f := range k.Fields {
		all = append(all, Column{Name: f.Name, Type: f.Type, Doc: f.Doc})
	}
	return all
}

// ownersMarkdown says who sees what.
func ownersMarkdown() string {
	var b strings.Builder
	b.WriteString("\n## Who sees what\n\n")
	b.WriteString("Through the API, users of a domain see the rows in which a column says that they are of their domain, users of an address likewise, and admins all.\n")
	b.WriteString("What is not in the list is the admins' alone.\n\n")
	b.WriteString("| Table or view | Domain users: one of these is of their domain | Address users: one of these is theirs | Hidden from both |\n|---|---|---|---|\n")
	list := func(names ...string) string {
		if len(names) == 0 {
			return "-"
		}
		return "`" + strings.Join(names, "`, `") + "`"
	}
	for _, name := range relations() {
		o, ok := owners[name]
		switch {
		case !ok:
			continue
		case o.Public:
			fmt.Fprintf(&b, "| `%s` | all | all | - |\n", name)
			continue
		}
		hidden := list(o.Hidden...)
		for _, c := range ColumnsOf(name) {
			if c.Type == Texts && slices.Contains(o.Recipients, c.Name) {
				hidden += fmt.Sprintf("; of `%s` the others, unless the mail is their own", c.Name)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, list(slices.Concat(o.Domains, o.Users, o.Senders, o.Recipients)...), list(slices.Concat(o.Senders, o.Recipients, o.Identities)...), hidden)
	}
	return b.String()
}

// relations are the names of all tables of events and all views.
func relations() []string {
	var all []string
	for _, k := range Kinds() {
		all = append(all, k.Table)
	}
	for _, v := range Views() {
		all = append(all, v.Name)
	}
	return all
}
