package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/fleet"
)

// level holds the measurements for a certain number of instances in the bucket.
type level struct {
	instances int
	made      made
	ingested  map[string]float64 // seconds of ingestion by part
	tableMB   float64
	rows      map[string]uint64 // number of rows by table
	queries   map[string]time.Duration
}

// scale generates 10, 100 and 1,000 instances, ingests them, and measures the queries at each level.
func scale(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	n := flags.Int("instances", 1000, "instances at the last level; the levels before have a tenth and a hundredth")
	services := flags.Int("services", 40, "services")
	perHour := flags.Int("per-hour", 200, "responses of an instance in an hour")
	keep := flags.String("keep", "", "keep the bucket and the databases in this folder")
	page := flags.String("page", "docs/SCALE.md", "page whose measured part is replaced; empty: none")
	_ = flags.Parse(args)
	p, stop, err := newProof(ctx, *keep)
	if err != nil {
		return "", err
	}
	defer stop()
	day := time.Now().UTC().Truncate(24 * time.Hour).Add(-48 * time.Hour)
	g := &generator{dir: p.dir, target: p.target, services: *services, perHour: *perHour, paths: 100, day: day}
	click, err := newClickHouse(p)
	if err != nil {
		return "", err
	}
	defer click.close()
	var levels []level
	from := 0
	for _, to := range []int{*n / 100, *n / 10, *n} {
		l := level{instances: to}
		if l.made, err = g.generate(ctx, from, to); err != nil {
			return "", err
		}
		if err := p.measure(click, &l, day); err != nil {
			return "", err
		}
		want := uint64(to * *perHour * 24)
		if l.rows["events"] != want {
			return "", fmt.Errorf("%d instances: %d events in ClickHouse, made were %d", to, l.rows["events"], want)
		}
		from = to
		levels = append(levels, l)
		fmt.Fprintln(os.Stderr, l.instances, "instances:", l.made, l.ingested)
	}
	text := scaleTables(levels, *perHour, *services, click.version)
	fmt.Println(text)
	if *page != "" {
		err = replaceMeasured(*page, text)
	}
	last := levels[len(levels)-1]
	return fmt.Sprintf("%d instances of %d services, %d events: counts equal; top-paths %v, completeness %v", last.instances, *services,
		last.rows["events"], last.queries["top-paths"].Round(time.Millisecond), last.queries["completeness"].Round(time.Millisecond)), err
}

// measure ingests the new objects in the bucket, and runs every query three times.
func (p *proof) measure(c *clickHouse, l *level, day time.Time) error {
	l.ingested, l.rows, l.queries = map[string]float64{}, map[string]uint64{}, map[string]time.Duration{}
	text, err := fleet.Setup(fleet.Options{Engine: fleet.ClickHouse, Bucket: c.bucket, Part: "ingest"})
	if err != nil {
		return err
	}
	for range 1 + l.instances*24/20_000 { // one ingestion reads at most 20,000 files
		for _, sql := range statements(text) {
			began := time.Now()
			if _, err := c.query(sql); err != nil {
				return err
			}
			for _, name := range []string{"statistics", "events"} {
				if strings.HasPrefix(sql, "INSERT INTO wayside."+name+"_in") {
					l.ingested[name] += time.Since(began).Seconds()
				}
			}
		}
	}
	for _, table := range []string{"statistics", "objects", "events"} {
		rows, err := c.query("SELECT count() AS n FROM wayside." + table + " FINAL")
		if err != nil {
			return err
		}
		l.rows[table] = rows[0].number("n")
	}
	rows, err := c.query("SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE database = 'wayside' AND active")
	if err != nil {
		return err
	}
	l.tableMB = float64(rows[0].number("n")) / 1e6
	queries, err := fleet.Queries(fleet.ClickHouse)
	if err != nil {
		return err
	}
	for _, q := range queries {
		o := fleet.Options{From: day, To: day.Add(24 * time.Hour)}
		if q.Name == "path" {
			o.Path = "/v1/things-0/{id}"
		}
		var took []time.Duration
		for range 3 {
			began := time.Now()
			if _, err := p.ask(c.engine, q.Name, o); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		l.queries[q.Name] = took[1]
	}
	return nil
}

// scaleTables formats the levels side by side.
func scaleTables(levels []level, perHour, services int, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d services, 100 paths each, %d responses an hour on each instance, one day; embedded ClickHouse %s (chdb);\n"+
		"%s, two cores that also ran the S3 server and unrelated builds and tests, so the times are upper bounds. Query\n"+
		"times are the median of three and include the transfer of all rows. Each column adds instances to the previous one, and\n"+
		"\"new\" means added in this step.\n\n| instances |", services, perHour, version, time.Now().UTC().Format("2006-01-02"))
	line := func(name string, value func(*level) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for i := range levels {
			fmt.Fprintf(&b, " %s |", value(&levels[i]))
		}
		b.WriteString("\n")
	}
	for i := range levels {
		fmt.Fprintf(&b, " %d |", levels[i].instances)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(levels)) + "\n")
	for _, r := range []struct {
		name  string
		value func(*level) string
	}{
		{"events in the tables", func(l *level) string { return fmt.Sprint(l.rows["events"]) }},
		{"event objects in the tables", func(l *level) string { return fmt.Sprint(l.rows["objects"]) }},
		{"rows of statistics", func(l *level) string { return fmt.Sprint(l.rows["statistics"]) }},
		{"bytes per new event in the bucket", func(l *level) string { return ratio(l.made.eventBytes, float64(l.made.events), 1) }},
		{"ClickHouse's tables, MB", func(l *level) string { return fmt.Sprintf("%.1f", l.tableMB) }},
		{"new events ingested per second", func(l *level) string { return ratio(l.made.events, l.ingested["events"], 0) }},
		{"new event objects ingested per second", func(l *level) string { return ratio(l.made.objects, l.ingested["events"], 0) }},
		{"new statistics objects ingested per second", func(l *level) string { return ratio(l.made.objects, l.ingested["statistics"], 0) }},
	} {
		line(r.name, r.value)
	}
	var names []string
	for name := range levels[0].queries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line("`"+name+"`, ms", func(l *level) string { return fmt.Sprint(math.Round(float64(l.queries[name].Microseconds()) / 1000)) })
	}
	return b.String()
}

func ratio(n uint64, by float64, digits int) string {
	return fmt.Sprintf("%.*f", digits, float64(n)/by)
}

const (
	measuredBegin = "<!-- measured by go run ./test/fleet scale -->\n"
	measuredEnd   = "<!-- end of the measured part -->"
)

// replaceMeasured replaces the measured part of a page.
func replaceMeasured(name, text string) error {
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(page), measuredBegin)
	_, after, closed := strings.Cut(rest, measuredEnd)
	if !found || !closed {
		return fmt.Errorf("%s has no measured part", name)
	}
	return os.WriteFile(name, []byte(before+measuredBegin+"\n"+text+"\n"+measuredEnd+after), 0o644)
}
