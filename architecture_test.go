package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/config"
	"millrace/schema"
)

// The shape of the house, which docs/design.md describes, held by tests.

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	all := map[string]*pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// room is the top of an import path: ingester for millrace/ingester/framing,
// main for millrace itself, "" for what is not ours.
func room(importPath string) string {
	if importPath == "millrace" {
		return "main"
	}
	rest, ours := strings.CutPrefix(importPath, "millrace/")
	if !ours {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

// TestImportsRunOneWay: main -> cmd -> stack -> {ingester, transformer, query, internal} ->
// schema -> the standard library.
func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	daemons := []string{"ingester", "transformer", "query"}
	may := map[string][]string{ // who may be imported from where
		"main":        {"cmd"},
		"cmd":         {"stack", "ingester", "transformer", "query", "internal", "schema"},
		"stack":       {"ingester", "transformer", "query", "internal", "schema"},
		"ingester":    {"ingester", "internal", "schema"},
		"transformer": {"transformer", "internal", "schema"},
		"query":       {"query", "internal", "schema"},
		"internal":    {"internal", "schema"},
		"schema":      {},
		"e2e":         {},
		"benchmarks":  {"benchmarks", "transformer", "query", "internal", "schema"},
	}
	all := packages(t)
	for _, p := range all {
		from := room(p.ImportPath)
		if from == "" {
			continue
		}
		allowed, known := may[from]
		if !known {
			t.Errorf("%s is in a room that docs/design.md does not know", p.ImportPath)
		}
		if from == "main" { // the ClickHouse child is this binary again
			p.Imports = slices.DeleteFunc(p.Imports, func(i string) bool { return i == "millrace/internal/embedded" })
		}
		for _, i := range p.Imports {
			if to := room(i); to != "" && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
			if from == "schema" && !all[i].Standard {
				t.Errorf("schema imports %s: it imports the standard library only", i)
			}
		}
		// Not by a detour either.
		for _, d := range p.Deps {
			if slices.Contains(daemons, from) && slices.Contains(daemons, room(d)) && room(d) != from {
				t.Errorf("%s depends on %s: they meet in Kafka and in ClickHouse only", p.ImportPath, d)
			}
		}
	}
}

// TestPackagesSayWhatTheyAre: each has a doc.go with its comment.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if r := room(p.ImportPath); r == "" || r == "main" {
			continue
		}
		file := filepath.Join(p.Dir, "doc.go")
		if strings.HasSuffix(p.ImportPath, "test") && len(p.GoFiles) == 1 {
			file = filepath.Join(p.Dir, p.GoFiles[0]) // a package of one file
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Errorf("%s has no doc.go: %v", p.ImportPath, err)
			continue
		}
		if !strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name+" ") {
			t.Errorf("%s: the package comment begins %.40q", p.ImportPath, f.Doc.Text())
		}
	}
}

// files are the repository's files that match, tools and builds left out.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (p == ".git" || p == ".tools" || p == "bin" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if ok, _ := path.Match(pattern, d.Name()); ok && !d.IsDir() {
			all = append(all, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	const limit = 600
	for _, f := range files(t, "*.go") {
		if n := strings.Count(read(t, f), "\n"); n > limit {
			t.Errorf("%s has %d lines: more than %d are no longer one thing", f, n, limit)
		}
	}
}

// TestReasonsAreListed: every constant of schema/reason.go is a row of the lists
// that the metrics and docs/errors.md are made of.
func TestReasonsAreListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, d := range slices.Concat(schema.RejectReasons(), schema.DropReasons()) {
		listed[string(d.Reason)] = true
	}
	f, err := parser.ParseFile(token.NewFileSet(), "schema/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	errorsPage, declared := read(t, "docs/errors.md"), 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		word, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Error(err)
		}
		declared++
		if !listed[word] {
			t.Errorf("%s (%q) is in neither list of schema/reason.go", spec.Names[0].Name, word)
		}
		if strings.Count(errorsPage, "| `"+word+"` |") != 1 {
			t.Errorf("%q is not one row of docs/errors.md", word)
		}
		return true
	})
	if declared != len(listed) {
		t.Errorf("%d reasons are declared and %d are listed", declared, len(listed))
	}
}

var testName = regexp.MustCompile(`\bTest[A-Z]\w+`)

// TestNamedTestsExist: a test that docs/design.md names as the proof of something is there.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, f := range files(t, "*_test.go") {
		for line := range strings.Lines(read(t, f)) {
			if rest, ok := strings.CutPrefix(line, "func "); ok {
				there[testName.FindString(rest)] = true
			}
		}
	}
	for _, name := range testName.FindAllString(read(t, "docs/design.md"), -1) {
		if !there[name] && name != "TestForged_" { // the beginning of several
			t.Errorf("docs/design.md names %s, which is not there", name)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksResolve: every relative link of a page leads to a file.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	found := 0
	for _, page := range files(t, "*.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			found++
			target, anchor, _ := strings.Cut(m[1], "#")
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], file)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d links were found", found)
	}
}

// anchors are the names that a page's headings have in links.
func anchors(page string) []string {
	var names []string
	for line := range strings.Lines(page) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := strings.ToLower(strings.TrimSpace(heading))
			name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
			names = append(names, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return names
}

// place is `path/file.go` or `path/file.go:Function` in a page.
var place = regexp.MustCompile("`([a-z0-9_/]+\\.go)(?::([A-Za-z0-9_.]+))?`")

// TestPlacesExist: a file that docs/design.md or CONTRIBUTING.md names is there,
// and so is the function that it names in it. Paths may leave out the daemon.
func TestPlacesExist(t *testing.T) {
	t.Parallel()
	found := 0
	for _, page := range []string{"docs/design.md", "CONTRIBUTING.md"} {
		for _, m := range place.FindAllStringSubmatch(read(t, page), -1) {
			found++
			file := ""
			for _, under := range []string{".", "ingester", "transformer", "internal"} {
				if _, err := os.Stat(filepath.Join(under, m[1])); err == nil {
					file = filepath.Join(under, m[1])
				}
			}
			if file == "" && !strings.Contains(m[1], "/") && len(files(t, m[1])) > 0 {
				continue // a name that many packages have, such as doc.go
			}
			if file == "" {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			} else if m[2] != "" && !declares(t, file, m[2]) {
				t.Errorf("%s names %s:%s, and there is no such function", page, m[1], m[2])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d places were found", found)
	}
}

// declares tells whether the file has a function or method of that name; a
// method may be written Type.Method.
func declares(t *testing.T, file, name string) bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, method, ok := strings.Cut(name, "."); ok {
		name = method
	}
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Name.Name == name
	})
}

// TestShippedConfigurationsLoad: what is in deploy/ is what the program reads.
func TestShippedConfigurationsLoad(t *testing.T) {
	t.Parallel()
	shipped, err := filepath.Glob("deploy/config*.yaml")
	if err != nil || len(shipped) == 0 || !slices.Contains(shipped, "deploy/config.example.yaml") {
		t.Fatalf("the shipped configurations are %q, %v", shipped, err)
	}
	for _, file := range shipped {
		if _, err := config.Parse(file, []byte(read(t, file)), func(string) string { return "" }); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestFuzzTargets: each has a corpus, so that every run of the tests tries what
// fuzzing has found worth trying.
func TestFuzzTargets(t *testing.T) {
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	n := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range target.FindAllSubmatch(text, -1) {
			n++
			corpus := filepath.Join(filepath.Dir(file), "testdata", "fuzz", string(m[1]))
			if files, err := os.ReadDir(corpus); err != nil || len(files) == 0 {
				t.Errorf("%s of %s has no corpus in %s", m[1], file, corpus)
			}
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d fuzz targets: %v", n, err)
	}
}
