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
	Athena     = "athena" // not tested on Athena; its grammar is checked
)

// ErrUnknown is wrapped by errors about an engine, a part or a query that does not exist, and ErrBucket by those about the bucket.
var (
	ErrUnknown = errors.New("unknown")
	ErrBucket  = errors.New("bucket")
)

//go:embed sql
var files embed.FS

// parts are the files of an engine that together set it up, in the order in which they are printed.
var parts = map[string][]string{
	ClickHouse: {"schema", "queue", "ingest"},
	DuckDB:     {"schema"},
	Athena:     {"schema"},
}

// Parts are the names that [Options.Part] may have for an engine.
func Parts(engine string) []string { return parts[engine] }

// Options select statements.
type Options struct {
	Engine string
	// Bucket is the archive: s3://bucket/prefix with the settings of archive.url, or for DuckDB also a directory. Empty: an example.
	Bucket string
	// Cluster is the name of a ClickHouse cluster: tables are then replicated and distributed. Empty: one server.
	Cluster string
	Part    string // one part of the set-up; empty: all

	// Of a query.
	From, To                time.Time // zero: the last 24 hours, reckoned by the engine when the query runs
	Service, Instance, Path string    // empty: all. The query "path" needs Path
	Limit                   int       // rows; 0: 50
}

// Query is a named query.
type Query struct {
	Name  string `json:"name"`
	About string `json:"about"` // its comment, on one line
}

// Queries lists the named queries of an engine, by name.
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

// comment returns the comment with which a file begins, on one line.
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

// Setup returns the statements that create the tables or views of an engine, and for ClickHouse its ingestion.
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
		names = []string{"schema", "queue"} // ingest is for a schedule, not for pasting
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
