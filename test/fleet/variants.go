package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/wayside-proxy/wayside/internal/fleet"
)

// roles tests each role with only the rights that the setup grants to it. It runs the statements that the role is meant for, and then
// statements that must be rejected.
func (c *clickHouse) roles(p *proof) error {
	text, err := fleet.Setup(fleet.Options{Engine: fleet.ClickHouse, Bucket: c.bucket, Part: "schema"})
	if err != nil {
		return err
	}
	grants := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(GRANT .*) TO (\w+);`).FindAllStringSubmatch(text, -1) {
		grants[m[2]] = append(grants[m[2]], m[1])
	}
	const insert = "INSERT INTO wayside.ingested SELECT 'x', now()"
	for _, role := range []struct {
		name    string
		work    func() error
		refused []string
	}{
		{"wayside_reader", func() error { return p.others(c.engine) }, []string{
			insert, "TRUNCATE TABLE wayside.ingested", "DROP TABLE wayside.events",
			"SELECT * FROM s3(wayside_bucket, filename = 'v1/*', format = 'One', structure = 'x UInt8')",
		}},
		{"wayside_ingest", c.ingest, []string{
			"TRUNCATE TABLE wayside.ingested", "DROP TABLE wayside.events", "ALTER TABLE wayside.events DELETE WHERE true",
		}},
	} {
		c.stop()
		if err := c.open(filepath.Join(p.dir, "clickhouse"), grants[role.name]); err != nil {
			return err
		}
		if err := role.work(); err != nil {
			return fmt.Errorf("role %s: %w", role.name, err)
		}
		for _, sql := range role.refused {
			if _, err := c.query(sql); err == nil || !strings.Contains(err.Error(), "ACCESS_DENIED") {
				return fmt.Errorf("role %s may %s: %v", role.name, sql, err)
			}
		}
	}
	c.stop()
	return c.open(filepath.Join(p.dir, "clickhouse"), nil)
}

var (
	onCluster  = " ON CLUSTER `fleet`"
	replicated = regexp.MustCompile(`Replicated(\w+)\([^)]*\)`)
)

// cluster checks the setup for a cluster: the grammar of all statements in the form in which they are printed; the replicated tables, by
// creating them with ZooKeeper; and ingestion and every query, on one server with plain tables below the distributed ones. It does not
// check several servers or ON CLUSTER itself, because these require real ClickHouse servers, which cannot run inside a process.
func (c *clickHouse) cluster(p *proof, worst *float64) error {
	text, err := fleet.Setup(fleet.Options{Engine: fleet.ClickHouse, Bucket: c.bucket, Cluster: "fleet"})
	if err != nil {
		return err
	}
	c.stop()
	if err := c.open(filepath.Join(p.dir, "clickhouse-cluster"), nil); err != nil {
		return err
	}
	for _, sql := range statements(text) {
		if _, err := c.query("EXPLAIN AST " + sql); err != nil {
			return err
		}
	}
	text = strings.ReplaceAll(text, onCluster, "")
	if c.keeper != nil {
		if _, err := c.query("CREATE DATABASE wayside"); err != nil {
			return err
		}
		for _, sql := range statements(text) {
			if replicated.MatchString(sql) {
				if _, err := c.query(sql); err != nil {
					return err
				}
			}
		}
		if _, err := c.query("DROP DATABASE wayside SYNC"); err != nil {
			return err
		}
	}
	schema, _, _ := strings.Cut(text, "-- Ingestion 1")
	if err := c.setUp(replicated.ReplaceAllString(schema, "$1")); err != nil {
		return err
	}
	for range 2 { // the second ingestion starts from the beginning
		if _, err := c.query("TRUNCATE TABLE wayside.ingested_local"); err != nil {
			return err
		}
		if err := c.ingest(); err != nil {
			return err
		}
	}
	return p.compareAll(c.engine, worst)
}

// athenaGrammar checks the statements for Athena: queries with Trino's grammar, tables with Hive's.
func athenaGrammar() error {
	type statement struct {
		Grammar string `json:"grammar"`
		SQL     string `json:"sql"`
	}
	text, err := fleet.Setup(fleet.Options{Engine: fleet.Athena})
	if err != nil {
		return err
	}
	all := []statement{{"trino", "SELECT FROM WHERE;"}} // an invalid statement, to make sure that the check can fail
	for _, sql := range statements(text) {
		all = append(all, statement{"hive", sql + ";"})
	}
	queries, err := fleet.Queries(fleet.Athena)
	if err != nil {
		return err
	}
	for _, q := range queries {
		sql, err := fleet.Statement(fleet.Options{Engine: fleet.Athena, Service: "shop"}, q.Name)
		if err != nil {
			return err
		}
		all = append(all, statement{"trino", sql})
	}
	in, err := json.Marshal(all)
	if err != nil {
		return err
	}
	cmd := exec.Command("node", "check.mjs")
	cmd.Dir, cmd.Stdin = "test/archive/trino", bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("check the grammar (run npm ci in %s first): %w", cmd.Dir, err)
	}
	var found []string
	if err := json.Unmarshal(out, &found); err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("the check of Trino's grammar accepts a wrong statement")
	}
	if len(found) > 1 {
		return fmt.Errorf("statements for Athena: %s", strings.Join(found[1:], "; "))
	}
	return nil
}
