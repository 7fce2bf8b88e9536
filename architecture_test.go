package wayside

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wayside-proxy/wayside"

// leaves are packages that any other may import; they import nothing of wayside but each other.
var leaves = []string{"internal/catalogue", "internal/clock", "internal/crash", "internal/crc32c", "internal/dashboard", "internal/disk", "internal/event", "internal/memfault", "internal/query", "internal/secure", "internal/stats", "internal/timeparse", "internal/varint", "internal/verify"}

// mayImport is the direction in which data flows: proxy → spool → collector → store → uploader. What is not listed is not
// allowed. The two processes put parts together, each its own; the traffic process never the store. Only commands may import anything.
var mayImport = map[string][]string{
	"proxy":              {"proxy/certs", "proxy/http1", "proxy/http2", "proxy/loop", "proxy/proxyproto", "proxy/route", "proxy/upstream"},
	"proxy/acme":         nil,
	"proxy/certs":        nil,
	"proxy/proxyproto":   nil,
	"proxy/http1":        nil,
	"proxy/http2":        {"proxy/http1"},
	"proxy/loop":         nil,
	"proxy/route":        nil,
	"proxy/upstream":     nil,
	"spool":              {"spool/journal", "spool/queue"},
	"spool/journal":      nil,
	"spool/queue":        nil,
	"collector":          {"internal/accounting", "spool", "collector/paths", "collector/store", "collector/snapshot", "collector/live"}, // not the API
	"collector/paths":    nil,
	"collector/store":    {"collector/store/badgerfiles", "collector/store/block", "collector/store/storeerr"},
	"collector/api":      {"collector", "collector/failing", "collector/snapshot", "collector/live", "collector/paths", "collector/store"},
	"collector/snapshot": {"collector/paths"}, // not the store: the traffic process serves snapshots
	"collector/live":     nil,
	"collector/failing":  {"collector/paths"},
	"uploader":           nil,
	"uploader/reader":    {"uploader"},
	"configs":            nil,
	"process":            nil,
	"process/books": {
		"collector", "collector/api", "collector/failing", "collector/paths", "collector/store", "configs", "internal/accounting", "internal/admin", "internal/datadir",
		"internal/link", "internal/logsink", "internal/memlimit", "internal/otlp", "internal/supervise", "internal/terminal", "process", "spool", "uploader",
		"uploader/reader",
	},
	"process/traffic": { // not the store: nothing that the books do can fail a request
		"collector/snapshot", "configs", "internal/accesslog", "internal/accounting", "internal/admin", "internal/datadir", "internal/link",
		"internal/logsink", "internal/memlimit", "internal/supervise", "internal/systemd", "internal/terminal", "process", "proxy", "proxy/acme",
		"proxy/certs", "spool",
	},
	"process/doctor": {
		"configs", "internal/admin/client", "internal/datadir", "internal/otlp", "process", "process/books", "process/traffic", "uploader",
	},
	"process/books/logimport": {
		"collector/paths", "collector/store", "configs", "internal/datadir", "internal/weblog", "process/books",
	},
	"process/books/restore": {
		"collector", "collector/store", "configs", "internal/datadir", "process/books", "uploader", "uploader/reader",
	},

	"collector/store/badgerfiles": {"collector/store/storeerr"},
	"collector/store/block":       {"collector/store/storeerr"},
	"collector/store/storeerr":    nil,

	"internal/accounting":   {"spool"},
	"internal/admin":        {"internal/connlimit", "internal/link"},
	"internal/admin/client": {"internal/admin", "internal/datadir"},
	"internal/cli":          {"configs"},
	"internal/report": {
		"collector", "internal/admin", "internal/terminal", "process/books/logimport", "process/books/restore", "process/doctor", "process/traffic", "uploader", "uploader/reader",
	},
	"internal/certtest":      nil,
	"internal/connlimit":     nil,
	"internal/supervise":     {"internal/link"},
	"internal/link":          nil,
	"internal/link/linktest": {"internal/link"},
	"internal/datadir":       nil,
	"internal/fleet":         nil,
	"internal/load":          nil,
	"internal/logsink":       {"internal/terminal"},
	"internal/memlimit":      nil,
	"internal/otlp":          nil,
	"internal/systemd":       nil,
	"internal/sampleapp":     nil,
	"internal/demo":          {"internal/load", "internal/sampleapp", "internal/terminal"},
	"internal/terminal":      nil,
	"internal/weblog":        nil,
	"internal/weekly":        {"internal/terminal"},
}

// wiring are the commands, and what proves and measures the product from outside; they may import everything, and nothing imports them but tests.
var wiring = []string{"cmd/wayside", "test"}

func TestImportsPointOneWay(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "tools") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen[filepath.ToSlash(filepath.Dir(path))] = true
		checkFile(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("%s is listed here and does not exist", pkg)
		}
	}
}

func checkFile(t *testing.T, path string) {
	t.Helper()
	pkg := filepath.ToSlash(filepath.Dir(path))
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		target, own := strings.CutPrefix(name, module+"/")
		if own && !allowed(pkg, target) {
			t.Errorf("%s imports %s: data flows the other way, or only a process or a command may put the two together", path, target)
		}
	}
}

func allowed(pkg, target string) bool {
	for _, w := range wiring {
		if pkg == w || strings.HasPrefix(pkg, w+"/") {
			return true
		}
	}
	if slices.Contains(leaves, target) {
		return true
	}
	if slices.Contains(leaves, pkg) {
		return false
	}
	list, known := mayImport[pkg]
	return known && slices.Contains(list, target)
}

func TestTheRuleCanFail(t *testing.T) {
	for _, wrong := range [][2]string{
		{"spool", "proxy"},
		{"proxy", "spool"},
		{"uploader", "collector/store"},
		{"collector/store", "collector"},
		{"collector", "configs"},
		{"collector", "collector/api"},
		{"collector/snapshot", "collector/store"},
		{"process/traffic", "collector/store"},
		{"process/traffic", "process/books"},
		{"internal/event", "spool"},
		{"some/new/package", "spool"},
		{"uploader", "test/s3test"},
	} {
		if allowed(wrong[0], wrong[1]) {
			t.Errorf("%s may import %s", wrong[0], wrong[1])
		}
	}
}
