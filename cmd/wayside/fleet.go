package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/fleet"
	"github.com/wayside-proxy/wayside/internal/timeparse"
)

func newFleet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fleet", Short: "Query the archives of many instances in one bucket",
		Long: "The objects of any number of services and instances can be in one bucket. fleet prints SQL that reads them.",
	}
	cmd.AddCommand(newFleetSQL())
	return cmd
}

func newFleetSQL() *cobra.Command {
	var o fleet.Options
	var query, from, to, output string
	var list bool
	cmd := &cobra.Command{
		Use: "sql clickhouse|duckdb|athena", Short: "Print schema, ingestion and queries, ready to paste",
		Long: "sql prints the statements that create tables or views for a bucket: for clickhouse, tables that ingest the objects exactly\n" +
			"once; for duckdb, views for use on your own machine; for athena, external tables (not tested on Athena).\n" +
			"With --query, it prints a named query; --list names them. It runs nothing and contacts nothing.",
		Example: "wayside fleet sql clickhouse --bucket s3://books?region=eu-central-1 | clickhouse-client --multiquery\n" +
			"wayside fleet sql duckdb --bucket s3://books > fleet.sql; wayside fleet sql duckdb --query top-paths >> fleet.sql; duckdb -f fleet.sql",
		Args: cli.OneOf(fleet.Engines...), ValidArgs: fleet.Engines,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.Engine = args[0]
			if o.Cluster != "" && o.Engine != fleet.ClickHouse {
				return cli.Usagef(cmd, "--cluster is only for clickhouse")
			}
			if list {
				return listQueries(cmd, o.Engine, output)
			}
			if o.From, o.To, err = fleetRange(from, to, time.Now()); err != nil {
				return cli.Usagef(cmd, "%v", err)
			}
			var text string
			switch {
			case query != "" && o.Part != "":
				return cli.Usagef(cmd, "use either --query or --part")
			case query == "path" && o.Path == "":
				return cli.Usagef(cmd, "--query path needs --path, such as '/users/{id}'")
			case query != "":
				text, err = fleet.Statement(o, query)
			default:
				text, err = fleet.Setup(o)
			}
			if errors.Is(err, fleet.ErrUnknown) || errors.Is(err, fleet.ErrBucket) {
				return cli.Usagef(cmd, "%v", err)
			}
			if err == nil {
				_, err = io.WriteString(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Bucket, "bucket", "", "`URL` of the archive: s3://bucket/prefix?region=…&endpoint=…, or, for duckdb, a directory")
	f.StringVar(&o.Cluster, "cluster", "", "`name` of a ClickHouse cluster, for replicated and distributed tables")
	f.StringVar(&o.Part, "part", "", "print only this part of the setup; for clickhouse: schema, queue, or ingest (for use on a schedule, and only printed on request)")
	f.StringVar(&query, "query", "", "print this query instead of the setup")
	f.BoolVar(&list, "list", false, "list the queries")
	f.StringVar(&from, "from", "", "beginning of the query's range: a time, or -24h; without --from and --to, the last 24 hours before the query runs")
	f.StringVar(&to, "to", "", "end of the query's range (exclusive)")
	f.StringVar(&o.Service, "service", "", "only this service")
	f.StringVar(&o.Instance, "instance", "", "only this instance")
	f.StringVar(&o.Path, "path", "", "path template of the query, such as '/users/{id}'")
	f.IntVar(&o.Limit, "limit", 0, "maximum number of rows in queries that rank paths, such as top-paths (default 50)")
	cli.BindOutput(cmd, &output)
	return cmd
}

// fleetRange parses the ends of a range. An empty string gives a zero time.
func fleetRange(from, to string, now time.Time) (start, end time.Time, err error) {
	for _, p := range []struct {
		flag, text string
		into       *time.Time
	}{{"--from", from, &start}, {"--to", to, &end}} {
		if p.text == "" {
			continue
		}
		if *p.into, err = timeparse.Parse(p.text, now); err != nil {
			return start, end, fmt.Errorf("%s %q: %w", p.flag, p.text, err)
		}
	}
	if !start.IsZero() && !end.IsZero() && !start.Before(end) {
		return start, end, fmt.Errorf("--from %s is not before --to %s", from, to)
	}
	return start, end, nil
}

func listQueries(cmd *cobra.Command, engine, output string) error {
	queries, err := fleet.Queries(engine)
	if err != nil {
		return cli.Usagef(cmd, "%v", err)
	}
	return printResult(cmd, output, map[string]any{"queries": queries}, func(w io.Writer) error {
		for _, q := range queries {
			if _, err := fmt.Fprintf(w, "%-14s %s\n", q.Name, q.About); err != nil {
				return err
			}
		}
		return nil
	})
}
