package fleet

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestErrorsOfGRPC: the statements count the same gRPC statuses as errors as the statistics do, the one for undefined codes included.
func TestErrorsOfGRPC(t *testing.T) {
	var codes []string
	for code := range event.GRPCCodeOther + 1 {
		status := event.GRPCOf(code)
		if got, _ := status.Code(); got != code {
			t.Fatalf("status %d has the code %d", code, got)
		}
		if status.IsError() {
			codes = append(codes, strconv.Itoa(code))
		}
	}
	want := "rpc_grpc_status_code IN (" + strings.Join(codes, ", ") + ")"
	if !strings.Contains(want, "17") {
		t.Errorf("an undefined status is no error: %s", want)
	}
	for _, engine := range Engines {
		text, err := Setup(Options{Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		failing, err := Statement(Options{Engine: engine}, "failing")
		if err != nil {
			t.Fatal(err)
		}
		lists := regexp.MustCompile(`rpc_grpc_status_code IN \([^)]*\)`).FindAllString(text+failing, -1)
		if len(lists) == 0 {
			t.Errorf("%s: no list of gRPC statuses", engine)
		}
		for _, list := range lists {
			if list != want {
				t.Errorf("%s: %s, want %s", engine, list, want)
			}
		}
	}
}

var marker = regexp.MustCompile(`\{\{[^}]*\}\}`)

// TestEveryStatementIsComplete: no marker is left, with and without a range, filters and a cluster.
func TestEveryStatementIsComplete(t *testing.T) {
	for _, engine := range Engines {
		queries, err := Queries(engine)
		if err != nil || len(queries) < 6 {
			t.Fatalf("%s: %d queries, %v", engine, len(queries), err)
		}
		for _, o := range []Options{
			{Engine: engine},
			{Engine: engine, From: time.Unix(1, 0), To: time.Unix(7200, 0), Service: "shop", Instance: "pod", Path: "/users/{id}", Limit: 3},
			{Engine: engine, Bucket: "s3://books/a?region=eu-central-1"},
		} {
			for _, q := range queries {
				text, err := Statement(o, q.Name)
				if err != nil || marker.MatchString(text) || !strings.HasSuffix(text, ";\n") || strings.Count(text, ";\n") != 1 {
					t.Errorf("%s %s: %v\n%s", engine, q.Name, err, text)
				}
				if len(q.About) < 30 {
					t.Errorf("%s %s is about %q", engine, q.Name, q.About)
				}
			}
			for _, part := range append([]string{""}, Parts(engine)...) {
				o.Part = part
				text, err := Setup(o)
				if err != nil || marker.MatchString(text) {
					t.Errorf("%s %s: %v %q", engine, part, err, marker.FindString(text))
				}
			}
		}
	}
}

// TestEnginesAnswerTheSameQuestions: all engines have the same queries, except for tables that only ClickHouse has.
func TestEnginesAnswerTheSameQuestions(t *testing.T) {
	names := func(engine string) string {
		queries, err := Queries(engine)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, q := range queries {
			if q.Name != "ingest" {
				all = append(all, q.Name)
			}
		}
		return strings.Join(all, " ")
	}
	if a, b := names(ClickHouse), names(DuckDB); a != b {
		t.Errorf("ClickHouse answers %s, DuckDB %s", a, b)
	}
}

// TestFiltersAreQuoted: a name cannot end its string.
func TestFiltersAreQuoted(t *testing.T) {
	for engine, want := range map[string]string{
		ClickHouse: `service = 'o''x\\'' OR 1=1 --'`, DuckDB: `service = 'o''x\'' OR 1=1 --'`, Athena: `service = 'o''x\'' OR 1=1 --'`,
	} {
		text, err := Statement(Options{Engine: engine, Service: `o'x\' OR 1=1 --`}, "top-paths")
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v\n%s", engine, err, text)
		}
	}
}

// TestClusterReplicatesAndDistributes: every object is created on the whole cluster, and readers see the tables over
// all shards.
func TestClusterReplicatesAndDistributes(t *testing.T) {
	text, err := Setup(Options{Engine: ClickHouse, Cluster: "fleet"})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range regexp.MustCompile(`(?m)^(CREATE|GRANT).*$`).FindAllString(text, -1) {
		if !strings.Contains(statement, "ON CLUSTER `fleet`") {
			t.Errorf("not on the cluster: %s", statement)
		}
	}
	for _, s := range shardBy {
		for _, want := range []string{"wayside." + s.table + "_local ON CLUSTER", "/wayside/" + s.table + "', '{replica}')", "Distributed('fleet', wayside, " + s.table + "_local"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s", s.table, want)
			}
		}
	}
	if strings.Contains(text, "= AggregatingMergeTree") || strings.Contains(text, "= ReplacingMergeTree") {
		t.Error("a table is not replicated")
	}
}

func TestLocation(t *testing.T) {
	for _, tt := range []struct{ engine, bucket, want string }{
		{ClickHouse, "s3://books/a/b", "https://books.s3.amazonaws.com/a/b/"},
		{ClickHouse, "s3://books?region=eu-central-1", "https://books.s3.eu-central-1.amazonaws.com/"},
		{ClickHouse, "s3://books/a?endpoint=http://127.0.0.1:7070&path_style=true", "http://127.0.0.1:7070/books/a/"},
		{ClickHouse, "s3://books/a?endpoint=https://s3.example/&path_style=false", "https://books.s3.example/a/"},
		{DuckDB, "s3://books/a/", "s3://books/a"},
		{DuckDB, "file:///srv/archive/", "/srv/archive"},
		{DuckDB, "./archive", "archive"},
		{Athena, "s3://books", "s3://books"},
	} {
		got, err := location(Options{Engine: tt.engine, Bucket: tt.bucket})
		if err != nil || got != tt.want {
			t.Errorf("%s %s: %s, %v, want %s", tt.engine, tt.bucket, got, err, tt.want)
		}
	}
	for _, o := range []Options{
		{Engine: ClickHouse, Bucket: "/srv/archive"},
		{Engine: ClickHouse, Bucket: "file:///srv"},
		{Engine: Athena, Bucket: "http://books"},
		{Engine: ClickHouse, Bucket: "s3://key:secret@books"},
		{Engine: ClickHouse, Bucket: "s3:///a"},
		{Engine: DuckDB, Bucket: "s3://%zz"},
	} {
		_, err := Setup(o)
		if !errors.Is(err, ErrBucket) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, o := range []Options{{Engine: "mysql"}, {Engine: ClickHouse, Part: "roles"}} {
		if _, err := Setup(o); !errors.Is(err, ErrUnknown) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, engine := range []string{ClickHouse, "mysql"} {
		if _, err := Statement(Options{Engine: engine}, "top"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", engine, err)
		}
	}
}

func TestColumnNames(t *testing.T) {
	if got := columnNames("a UInt8, b Array(Tuple(x UInt8, y UInt8)),\n  c String"); got != "a, b, c" {
		t.Error(got)
	}
}
