package fleet

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Engines are the engines for which there are statements.
var Engines = []string{ClickHouse, DuckDB, Athena}

// Names of the engines.
const (
	ClickHouse = "clickhouse"
	DuckDB     = "duckdb"
	Athena     = "athena" // statements are not tested on Athena itself, only against its grammar
)

// ErrUnknown is wrapped by errors about an unknown engine, part or query, and ErrBucket by errors about the bucket.
var (
	ErrUnknown = errors.New("unknown")
	ErrBucket  = errors.New("bucket")
)

//go:embed sql
var files embed.FS

// parts lists, for each engine, the files that together set it up, in the order in which they are printed.
var parts = map[string][]string{
	ClickHouse: {"schema", "queue", "ingest"},
	DuckDB:     {"schema"},
	Athena:     {"schema"},
}

// Parts returns the names that [Options.Part] may have for an engine.
func Parts(engine string) []string { return parts[engine] }

// Options select statements.
type Options struct {
	Engine string
	// Bucket is the archive: s3://bucket/prefix with the settings of archive.url or, only for DuckDB, a directory. If it is empty, an
	// example is printed instead.
	Bucket string
	// Cluster is the name of a ClickHouse cluster on which tables are replicated and distributed. If it is empty, there
	// is only one server.
	Cluster string
	Part    string // one part of the setup; empty means all

	// Options of a query:
	From, To                time.Time // zero: the last 24 hours, computed by the engine when the query runs
	Service, Instance, Path string    // empty means all; the query "path" requires Path
	Limit                   int       // number of rows; 0 means 50
}

// Query is a named query.
type Query struct {
	Name  string `json:"name"`
	About string `json:"about"` // the comment of the query, joined into one line
}

// Queries returns the named queries of an engine, sorted by name.
func Queries(engine string) ([]Query, error) {
	entries, err := fs.ReadDir(files, path.Join("sql", engine, "queries"))
	if err != nil {
		return nil, fmt.Errorf("%w engine %q: want %s", ErrUnknown, engine, strings.Join(Engines, ", "))
	}
	var out []Query
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".sql")
		text, err := read(engine, "queries/"+name)
		if err != nil {
			return nil, err
		}
		out = append(out, Query{Name: name, About: comment(text)})
	}
	return out, nil
}

// comment returns the comment at the beginning of a file, joined into one line.
func comment(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, "-- ")
		if !found {
			break
		}
		words = append(words, strings.TrimSpace(rest))
	}
	return strings.Join(words, " ")
}

func read(engine, name string) (string, error) {
	text, err := files.ReadFile(path.Join("sql", engine, name+".sql"))
	return string(text), err
}

// Setup returns the statements that create the tables or views of an engine and, for ClickHouse, its ingestion.
func Setup(o Options) (string, error) {
	names := parts[o.Engine]
	if names == nil {
		return "", fmt.Errorf("%w engine %q: want %s", ErrUnknown, o.Engine, strings.Join(Engines, ", "))
	}
	if o.Part != "" {
		if !slices.Contains(names, o.Part) {
			return "", fmt.Errorf("%w part %q of %s: want %s", ErrUnknown, o.Part, o.Engine, strings.Join(names, ", "))
		}
		names = []string{o.Part}
	} else if o.Engine == ClickHouse {
		names = []string{"schema", "queue"} // "ingest" is meant to be scheduled, not pasted
	}
	url, err := location(o)
	if err != nil {
		return "", err
	}
	replace := setupMarkers(o, url)
	var texts []string
	for _, name := range names {
		text, err := read(o.Engine, name)
		if err != nil {
			return "", err
		}
		texts = append(texts, replace.Replace(text))
	}
	return strings.Join(texts, "\n"), nil
}

// Statement returns a named query.
func Statement(o Options, name string) (string, error) {
	queries, err := Queries(o.Engine)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(queries, func(q Query) bool { return q.Name == name }) {
		var names []string
		for _, q := range queries {
			names = append(names, q.Name)
		}
		return "", fmt.Errorf("%w query %q: %s has %s", ErrUnknown, name, o.Engine, strings.Join(names, ", "))
	}
	text, err := read(o.Engine, "queries/"+name)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(queryMarkers(o).Replace(text)) + ";\n", nil
}
