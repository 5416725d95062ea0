package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/internal/mailname"
	"millrace/internal/sqltext"
	"millrace/query"
	"millrace/schema"
)

// Role is a level of the panel.
type Role string

// The roles.
const (
	Admin       Role = "admin"  // everything
	DomainUser  Role = "domain" // the mail of its domains
	AddressUser Role = "email"  // the mail of its addresses
)

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Admin, DomainUser, AddressUser:
		return r, nil
	}
	return "", fmt.Errorf("cannot use role %q: want admin, domain or email", s)
}

// Scope is whose rows somebody may see. The zero Scope sees none.
type Scope struct {
	Role      Role
	Domains   []string // of the role domain
	Addresses []string // of the role email
}

// Everything is the scope of an admin.
func Everything() Scope { return Scope{Role: Admin} }

// ErrHidden is asked for a relation that the role does not see.
var ErrHidden = errors.New("admins alone may ask it")

// Names of the query parameters that carry the scope.
const (
	domainsParameter   = "scope_domains"
	atDomainsParameter = "scope_at_domains"
	addressesParameter = "scope_addresses"
)

// Parameters are the query parameters that the SQL of [Scope.Relation] names.
func (s Scope) Parameters() map[string]string {
	switch s.Role {
	case DomainUser:
		var domains, at []string
		for _, d := range s.Domains {
			for _, f := range mailname.Forms(d) {
				domains, at = append(domains, f), append(at, "@"+f)
			}
		}
		return map[string]string{domainsParameter: sqltext.Array(domains), atDomainsParameter: sqltext.Array(at)}
	case AddressUser:
		var all []string
		for _, a := range s.Addresses {
			all = append(all, mailname.AddressForms(a)...)
		}
		return map[string]string{addressesParameter: sqltext.Array(all)}
	}
	return nil
}

// Relation is SQL for a table or view of the database as the scope sees it: its name, or a
// subquery in parentheses.
func (s Scope) Relation(database, name string) (string, error) {
	table := schema.QuoteName(database) + "." + schema.QuoteName(name)
	if s.Role == Admin {
		return table, nil
	}
	owners, ok := schema.OwnersOf(name)
	if !ok {
		return "", fmt.Errorf("cannot read %s: %w", name, ErrHidden)
	}
	if owners.Public {
		return table, nil
	}
	whole, part := s.conditions(owners)
	var replaced []string
	for _, f := range schema.ColumnsOf(name) {
		column := "base." + schema.QuoteName(f.Name)
		as := " AS " + schema.QuoteName(f.Name)
		switch {
		case slices.Contains(owners.Hidden, f.Name):
			replaced = append(replaced, fmt.Sprintf("defaultValueOfTypeName('%s')%s", strings.ReplaceAll(f.ClickHouse(), "'", `\'`), as))
		case f.Type == schema.Texts && slices.Contains(owners.Recipients, f.Name):
			replaced = append(replaced, fmt.Sprintf("if(%[1]s, %[2]s, arrayFilter(r -> %[3]s, %[2]s))%[4]s", or(whole), column, or(part("r")), as))
		case slices.Contains(owners.Beside, f.Name):
			// An array of another length has no entry to choose by.
			recipients := "base." + schema.QuoteName(owners.Recipients[0])
			replaced = append(replaced, fmt.Sprintf("if(%[1]s, %[2]s, if(length(%[2]s) = length(%[3]s), arrayFilter((x, r) -> %[4]s, %[2]s, %[3]s), []))%[5]s", or(whole), column, recipients, or(part("r")), as))
		}
	}
	columns := "*"
	if len(replaced) > 0 {
		columns = "* REPLACE (" + strings.Join(replaced, ", ") + ")"
	}
	any := slices.Clone(whole)
	for _, d := range owners.Domains {
		if s.Role == DomainUser {
			any = append(any, fmt.Sprintf("has({%s:Array(String)}, lower(base.%s))", domainsParameter, schema.QuoteName(d)))
		}
	}
	for _, r := range owners.Recipients {
		column := "base." + schema.QuoteName(r)
		if typeOf(name, r) == schema.Texts {
			any = append(any, fmt.Sprintf("arrayExists(r -> %s, %s)", or(part("r")), column))
		} else {
			any = append(any, part(column)...)
		}
	}
	return fmt.Sprintf("(SELECT %s FROM %s AS base WHERE %s)", columns, table, or(any)), nil
}

// Relations are the names of the tables and views that others than admins may ask.
func Relations() []string {
	var all []string
	for _, k := range schema.Kinds() {
		all = append(all, k.Table)
	}
	for _, v := range schema.Views() {
		all = append(all, v.Name)
	}
	return slices.DeleteFunc(all, func(name string) bool {
		_, ok := schema.OwnersOf(name)
		return !ok
	})
}

// Narrow is what a statement over the database's tables and views is narrowed to; nil: to
// nothing.
func (s Scope) Narrow(database string) (*query.Scope, error) {
	if s.Role == Admin {
		return nil, nil
	}
	narrowed := &query.Scope{Parameters: s.Parameters()}
	for _, name := range Relations() {
		sql, err := s.Relation(database, name)
		if err != nil {
			return nil, err
		}
		narrowed.Relations = append(narrowed.Relations, query.Relation{Name: name, SQL: "SELECT * FROM " + sql})
	}
	return narrowed, nil
}

// conditions are SQL: one of whole holds when the mail is the scope's own, with all of its
// recipients; one of part(x), when the address x is.
func (s Scope) conditions(o schema.Owners) (whole []string, part func(x string) []string) {
	switch s.Role {
	case DomainUser:
		part = func(x string) []string {
			return []string{fmt.Sprintf("arrayExists(d -> endsWith(lower(%s), d), {%s:Array(String)})", x, atDomainsParameter)}
		}
		for _, c := range slices.Concat(o.Users, o.Senders) {
			whole = append(whole, part("base."+schema.QuoteName(c))...)
		}
	case AddressUser:
		part = func(x string) []string {
			return []string{fmt.Sprintf("has({%s:Array(String)}, lower(%s))", addressesParameter, x)}
		}
		for _, c := range slices.Concat(o.Senders, o.Identities) {
			whole = append(whole, part("base."+schema.QuoteName(c))...)
		}
	default:
		part = func(string) []string { return nil }
	}
	return whole, part
}

// or joins conditions; none of them is false.
func or(conditions []string) string {
	if len(conditions) == 0 {
		return "false"
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

func typeOf(relation, column string) schema.Type {
	for _, f := range schema.ColumnsOf(relation) {
		if f.Name == column {
			return f.Type
		}
	}
	return 0
}
