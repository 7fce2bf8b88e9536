package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Columns of the lines in the bucket, with their types in ClickHouse. The Null tables, the queues and the scheduled ingestion share them.
const (
	statisticsColumns = `server_address String, http_request_method String, url_template String, route String,
    count UInt64, errors UInt64, streams UInt64, bytes_in UInt64, bytes_out UInt64, latency_us_sum UInt64, latency_us_max UInt64,
    status Array(Tuple(code UInt16, count UInt64)), error_types Array(Tuple(type String, count UInt64)),
    grpc Array(Tuple(code Int16, count UInt64)), latency_below_1us UInt64, latency_bins Array(Tuple(bin UInt16, count UInt64)),
    object Tuple(rows UInt64, runs Array(Tuple(first UInt64, last UInt64)), drops Array(Tuple(reason String, seq UInt64, responses UInt64))),
    service String, instance String, epoch UUID`
	eventsColumns = `ts String, http_request_method String, url_path String, url_template String, http_response_status_code UInt16,
    duration_us UInt64, ttfb_us UInt64, request_us UInt64, wait_us UInt64, http_request_body_size UInt64, http_response_body_size UInt64,
    server_address String, upstream_address String, network_protocol_version String, tls_protocol_version String, client_address String,
    trace_id String, request_id String, row_host Nullable(String), row_method Nullable(String), error_type String, kind String,
    rpc_grpc_status_code Nullable(Int16), route String, attempts Nullable(UInt8), dropped UInt64, service String, instance String,
    epoch UUID, seq UInt64`
)

// columnNames returns the names of columns. The types contain commas only inside parentheses.
func columnNames(columns string) string {
	var names []string
	depth, start := 0, 0
	for i, c := range columns + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			names = append(names, strings.Fields(columns[start:i])[0])
			start = i + 1
		}
	}
	return strings.Join(names, ", ")
}

// isError is the condition under which the statistics count an error: 5xx, an error type, or a gRPC status that means a
// server error. 17 stands for a status that gRPC does not define.
const isError = `http_response_status_code >= 500 OR error_type != '' OR rpc_grpc_status_code IN (2, 4, 12, 13, 14, 15, 17)`

// latency is the latency of an event in the statistics.
const latency = `if(kind = 'stream', ttfb_us, duration_us)`

// shardBy lists the columns by which the rows of a table are distributed over the shards of a cluster. A shard merges only its own rows,
// so rows that must be merged with each other must be on the same shard.
var shardBy = []struct{ table, key string }{
	{"statistics", "cityHash64(epoch)"}, {"objects", "cityHash64(epoch)"}, {"events", "cityHash64(epoch)"}, {"ingested", "cityHash64(file)"},
}

func setupMarkers(o Options, url string) *strings.Replacer {
	pairs := []string{
		"'{{url}}'", o.quote(url), "'{{url}}/", strings.TrimSuffix(o.quote(url), "'") + "/", "{{statistics columns}}", statisticsColumns, "{{events columns}}", eventsColumns,
		"{{statistics names}}", columnNames(statisticsColumns), "{{events names}}", columnNames(eventsColumns),
		"{{is error}}", isError, "{{latency}}", latency,
	}
	onCluster, local, distributed := "", "", ""
	if o.Cluster != "" {
		onCluster, local = " ON CLUSTER "+identifier(o.Cluster), "_local"
		distributed = distributedTables(o.quote(o.Cluster), onCluster)
	}
	pairs = append(pairs, "{{on cluster}}", onCluster, "{{local}}", local, "{{distributed}}", distributed)
	for _, s := range shardBy {
		for _, engine := range []string{"AggregatingMergeTree", "ReplacingMergeTree"} {
			use := engine
			if o.Cluster != "" {
				use = fmt.Sprintf("Replicated%s('/clickhouse/tables/{shard}/wayside/%s', '{replica}')", engine, s.table)
			}
			pairs = append(pairs, "{{engine "+engine+" "+s.table+"}}", use)
		}
	}
	return strings.NewReplacer(pairs...)
}

// distributedTables returns the statements for the tables that readers query. Each of them spans the corresponding tables of the shards.
func distributedTables(cluster, onCluster string) string {
	var b strings.Builder
	b.WriteString(`
-- The tables over all shards. Equal rows must meet on one shard to be merged, so the sharding key is the epoch. Set
-- distributed_foreground_insert = 1 in the default profile: then a file counts as read only when the shards have it.
`)
	for _, s := range shardBy {
		fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS wayside.%s%s AS wayside.%s_local\nENGINE = Distributed(%s, wayside, %s_local, %s);\n",
			s.table, onCluster, s.table, cluster, s.table, s.key)
	}
	return b.String()
}

// limitDefault is the default number of rows in the result of a query that lists only the rows with the highest values.
const limitDefault = 50

func queryMarkers(o Options) *strings.Replacer {
	limit := o.Limit
	if limit == 0 {
		limit = limitDefault
	}
	from, to, before := o.span()
	filters := ""
	for _, f := range []struct{ column, value string }{{"service", o.Service}, {"instance", o.Instance}} {
		if f.value != "" {
			filters += " AND " + f.column + " = " + o.quote(f.value)
		}
	}
	paths := filters
	if o.Path != "" {
		paths += " AND url_template = " + o.quote(o.Path)
	}
	hourStart := map[string]string{ClickHouse: "toStartOfHour(" + from + ")"}[o.Engine]
	if hourStart == "" {
		hourStart = "date_trunc('hour', " + from + ")"
	}
	return strings.NewReplacer(
		"{{from}}", from, "{{to}}", to, "{{before}}", before, "{{filters}}", filters, "{{limit}}", strconv.Itoa(limit),
		"{{hours}}", "hour >= "+hourStart+" AND hour < "+to+filters, "{{events}}", "ts >= "+from+" AND ts < "+to+paths,
		"{{athena hours}}", athenaHours(from, to)+filters, "{{days}}", o.days(from, to), "{{path}}", o.quote(o.Path), "{{is error}}", isError, "{{latency}}", latency,
	)
}

// span returns expressions for the beginning and the end of the range, and for the beginning of the preceding range of
// the same length.
func (o Options) span() (from, to, before string) {
	if o.From.IsZero() && o.To.IsZero() {
		switch o.Engine {
		case ClickHouse:
			return "now() - INTERVAL 24 HOUR", "now()", "now() - INTERVAL 48 HOUR"
		case DuckDB:
			const now = "(now() AT TIME ZONE 'UTC')"
			return now + " - INTERVAL 24 HOUR", now, now + " - INTERVAL 48 HOUR"
		}
		const now = "CAST(current_timestamp AT TIME ZONE 'UTC' AS timestamp)"
		return now + " - INTERVAL '24' HOUR", now, now + " - INTERVAL '48' HOUR"
	}
	end := o.To
	if end.IsZero() {
		end = time.Now()
	}
	start := o.From
	if start.IsZero() {
		start = end.Add(-24 * time.Hour)
	}
	return o.moment(start), o.moment(end), o.moment(start.Add(start.Sub(end)))
}

func (o Options) moment(t time.Time) string {
	text := t.UTC().Format("2006-01-02 15:04:05.000000")
	if o.Engine == ClickHouse {
		return "toDateTime64('" + text + "', 6, 'UTC')"
	}
	return "TIMESTAMP '" + text + "'"
}

// days returns a condition that limits the query to the folders of the days that it needs.
func (o Options) days(from, to string) string {
	return "dt >= CAST(" + from + " AS DATE) AND dt <= CAST(" + to + " AS DATE)"
}

// athenaHours returns a condition for a range of hours on the columns of Athena's partitions, which are text.
func athenaHours(from, to string) string {
	const day, hour = "date_format(%s, '%%Y-%%m-%%d')", "CAST(dt || ' ' || hour || ':00:00' AS timestamp)"
	return fmt.Sprintf("dt >= "+day+" AND dt <= "+day+" AND "+hour+" >= date_trunc('hour', %s) AND "+hour+" < %s", from, to, from, to)
}

// quote returns text as an SQL string. A backslash is an escape character only in ClickHouse.
func (o Options) quote(text string) string {
	if o.Engine == ClickHouse {
		text = strings.ReplaceAll(text, `\`, `\\`)
	}
	return "'" + strings.NewReplacer("'", "''", "\x00", "").Replace(text) + "'"
}

// identifier quotes the name of a cluster.
func identifier(name string) string {
	return "`" + strings.NewReplacer("`", "", `\`, "").Replace(name) + "`"
}
