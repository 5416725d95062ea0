package query

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Relation is what a name stands for in a scoped statement: a SELECT over the table or view
// of that name that leaves out what the one who asks may not see.
type Relation struct{ Name, SQL string }

// Scoped makes the relations stand for their names in a statement that CheckScoped has
// passed. The statement becomes a subquery: beside the relations' own WITH, a WITH of a
// later part of a UNION would read the tables themselves.
func Scoped(sql string, relations []Relation) string {
	var b strings.Builder
	for i, r := range relations {
		if i == 0 {
			b.WriteString("WITH ")
		} else {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%s AS (%s\n)", r.Name, r.SQL)
	}
	fmt.Fprintf(&b, "\nSELECT * FROM\n(\n%s\n)", strings.TrimRight(strings.TrimSpace(sql), "; \t\r\n"))
	return b.String()
}

// CheckScoped tells whether a statement reads nothing but the allowed names, which Scoped
// then makes stand for what the one who asks may see. It is for statements that others have
// written: what is not known to be harmless is an error that names it.
//
// It allows one SELECT over the allowed names and over the statement's own WITH names, and
// functions that compute from their arguments alone. A name of a database, a table function,
// a parametrised view, a dictionary, SETTINGS, FORMAT, INTO OUTFILE, and names that are
// put together by parameters or by APPLY are refused. The server's own parser says what
// stands where; values are those of the statement's parameters.
func CheckScoped(ctx context.Context, o Options, sql string, values map[string]string, allowed []string) error {
	refuse := func(err error) error { return fmt.Errorf("cannot allow the statement to others than admins: %w", err) }
	sql = strings.TrimRight(strings.TrimSpace(sql), "; \t\r\n")
	if err := checkWords(sql, allowed); err != nil {
		return refuse(err)
	}
	params := clickhouse.Parameters{}
	for name, v := range values {
		params[name] = v
	}
	var ast, tables bytes.Buffer
	if _, err := RunStatement(ctx, o, Statement{SQL: "EXPLAIN AST " + sql, Parameters: params}, Output{To: &ast, Format: TSV}); err != nil {
		return refuse(err)
	}
	// A WITH name that is a table's could be read as the table where the WITH does not
	// reach; one that is none can only be the WITH's.
	if _, err := RunStatement(ctx, o, Statement{SQL: "SELECT name FROM system.tables WHERE database = currentDatabase()"}, Output{To: &tables, Format: TSV}); err != nil {
		return err
	}
	root, err := parseAST(ast.String())
	if err != nil {
		return refuse(err)
	}
	c := scopeCheck{allowed: allowed, tables: strings.Split(tables.String(), "\n")}
	if root.kind != "SelectWithUnionQuery" {
		return refuse(fmt.Errorf("it is no SELECT"))
	}
	if err := c.node(root); err != nil {
		return refuse(err)
	}
	return nil
}

// CheckScoped is [CheckScoped] for the report's statement with the values asked.
func (a Asked) CheckScoped(ctx context.Context, o Options, allowed []string) error {
	a.Scope = nil
	sql := a.text()
	return CheckScoped(ctx, o, sql, a.statement(sql).Parameters, allowed)
}

type scopeCheck struct {
	allowed []string
	tables  []string // of the database
}

// harmlessNodes are the parts of a SELECT that name nothing by themselves.
var harmlessNodes = []string{
	"SelectIntersectExceptQuery", "SelectQuery", "ExpressionList", "WithElement", "Subquery", "Identifier", "Literal", "Asterisk", "QualifiedAsterisk",
	"ColumnsRegexpMatcher", "ColumnsListMatcher", "QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher", "ColumnsTransformerList", "ColumnsExceptTransformer", "ColumnsReplaceTransformer",
	"ColumnsReplaceTransformer::Replacement", "TablesInSelectQuery", "TablesInSelectQueryElement", "TableJoin", "ArrayJoin", "OrderByElement", "WindowDefinition", "WindowListElement", "InterpolateElement", "SampleRatio",
}

func (c *scopeCheck) node(n *astNode) error {
	switch n.kind {
	case "SelectWithUnionQuery":
		if len(n.children) != 1 || n.children[0].kind != "ExpressionList" {
			return fmt.Errorf("it has SETTINGS, FORMAT or INTO OUTFILE")
		}
	case "Set":
		return fmt.Errorf("it has SETTINGS")
	case "TableExpression":
		if len(n.children) == 0 {
			return fmt.Errorf("a table is of a kind that is not known")
		}
		switch first := n.children[0]; first.kind {
		case "Function":
			return fmt.Errorf("%q is a table function, or a view with parameters", first.name)
		case "TableIdentifier", "Subquery":
		default:
			return fmt.Errorf("a table is a %s", first.kind)
		}
	case "TableIdentifier":
		if err := c.table(n.name); err != nil {
			return err
		}
	case "Function":
		if err := c.function(n); err != nil {
			return err
		}
	case "ColumnsApplyTransformer":
		return fmt.Errorf("APPLY hides which function it calls")
	default:
		if !slices.Contains(harmlessNodes, n.kind) {
			return fmt.Errorf("it has a part that is not known, %q", n.kind)
		}
	}
	for _, child := range n.children {
		if err := c.node(child); err != nil {
			return err
		}
	}
	return nil
}

// table judges a name that stands for a table.
func (c *scopeCheck) table(name string) error {
	switch {
	case strings.Contains(name, "."):
		return fmt.Errorf("%q names a database", name)
	case slices.Contains(c.allowed, name):
		return nil
	case slices.Contains(c.tables, name):
		return fmt.Errorf("%q is a table; there are %s", name, strings.Join(c.allowed, ", "))
	}
	return nil
}

// function judges a function, and the names of tables in its arguments: x IN name.
func (c *scopeCheck) function(n *astNode) error {
	if !harmlessFunction(n.name) {
		return fmt.Errorf("the function %q is not among those that compute from their arguments alone", n.name)
	}
	if !inFunction.MatchString(n.name) || len(n.children) == 0 {
		return nil
	}
	for _, arg := range n.children[0].children[min(1, len(n.children[0].children)):] {
		if arg.kind == "Identifier" || arg.kind == "TableIdentifier" {
			if err := c.table(arg.name); err != nil {
				return err
			}
		}
	}
	return nil
}

var inFunction = regexp.MustCompile(`(?i)^(global)?(not)?(null)?in(IgnoreSet)?$`)

// functions.txt are the server's functions that compute from their arguments alone: those
// of system.functions without the ones that reach files, dictionaries, tables, the network,
// the server's state or its user. TestHarmlessFunctions compares it with the server.
//
//go:embed functions.txt
var functionList string

var harmlessFunctions = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{"lambda": true, "exists": true, "grouping": true}
	for name := range strings.FieldsSeq(functionList) {
		all[strings.ToLower(name)] = true
	}
	return all
})

// combinators are endings of aggregate functions' names.
var combinators = []string{"simplestate", "mergestate", "state", "merge", "ordefault", "ornull", "foreach", "distinct", "resample", "argmin", "argmax", "array", "map", "null", "if"}

func harmlessFunction(name string) bool {
	name = strings.ToLower(name)
	if harmlessFunctions()[name] {
		return true
	}
	for _, ending := range combinators {
		if base, ok := strings.CutSuffix(name, ending); ok && base != "" && harmlessFunction(base) {
			return true
		}
	}
	return false
}

// astNode is a line of EXPLAIN AST with what stands under it.
type astNode struct {
	kind, name string
	children   []*astNode
}

var astLine = regexp.MustCompile(`^( *)([A-Za-z:]+)(?: (.*?))??(?: \(alias [^()]*\))?(?: \(children ([0-9]+)\))?$`)

// parseAST reads EXPLAIN AST. Every line must have as many lines under it as it says, so
// that a name that looks like lines of its own cannot pass.
func parseAST(text string) (*astNode, error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	at := 0
	var read func(depth int) (*astNode, error)
	read = func(depth int) (*astNode, error) {
		if at >= len(lines) {
			return nil, fmt.Errorf("its syntax tree ends early")
		}
		m := astLine.FindStringSubmatch(lines[at])
		if m == nil || len(m[1]) != depth {
			return nil, fmt.Errorf("its syntax tree is not understood at %q", lines[at])
		}
		at++
		n := &astNode{kind: m[2], name: m[3]}
		count, _ := strconv.Atoi(m[4])
		if count > 0 && (n.kind == "Identifier" || n.kind == "TableIdentifier" || n.kind == "Literal") {
			return nil, fmt.Errorf("its syntax tree is not understood: a %s has parts", n.kind)
		}
		for range count {
			child, err := read(depth + 1)
			if err != nil {
				return nil, err
			}
			n.children = append(n.children, child)
		}
		return n, nil
	}
	root, err := read(0)
	if err == nil && at != len(lines) {
		err = fmt.Errorf("its syntax tree is not understood at %q", lines[at])
	}
	return root, err
}
