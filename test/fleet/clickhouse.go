package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/fleet"
)

// clickHouse is ClickHouse running inside a process (chdb), with the tables of `wayside fleet sql`.
type clickHouse struct {
	*engine
	keeper  *keeper // nil if ZooKeeper is not installed
	bucket  string
	key     string // access key and secret, in the syntax of the named collection
	version string
}

func newClickHouse(p *proof) (*clickHouse, error) {
	c := &clickHouse{
		bucket: p.server.URL("books"),
		key:    fmt.Sprintf(", access_key_id = '%s', secret_access_key = '%s'", p.server.AccessKey, p.server.SecretKey),
	}
	if haveKeeper() {
		var err error
		if c.keeper, err = startKeeper(filepath.Join(p.dir, "keeper")); err != nil {
			return nil, err
		}
	}
	if err := c.open(filepath.Join(p.dir, "clickhouse"), nil); err != nil {
		return nil, err
	}
	rows, err := c.query("SELECT version() AS v")
	if err != nil {
		return nil, err
	}
	c.version = rows[0].text("v")
	return c, c.runPart("schema")
}

// open starts a session in a folder. If grants are given, the session's user has only these rights.
func (c *clickHouse) open(folder string, grants []string) error {
	text := "<clickhouse><tcp_port>9000</tcp_port>" // needed for Distributed tables to recognize the only server as this one
	if c.keeper != nil {
		text += fmt.Sprintf("<zookeeper><node><host>127.0.0.1</host><port>%s</port></node></zookeeper>", c.keeper.port)
	}
	text += "<macros><shard>1</shard><replica>a</replica></macros><remote_servers><fleet><shard><replica><host>127.0.0.1</host>" +
		"<port>9000</port></replica></shard></fleet></remote_servers>"
	if grants != nil {
		users := folder + ".users.xml"
		text += "<users_config>" + users + "</users_config>"
		rights := "<clickhouse><profiles><default/></profiles><users><default><password></password><networks><ip>::/0</ip></networks>" +
			"<profile>default</profile><quota>default</quota><grants>"
		for _, g := range grants {
			rights += "<query>" + g + "</query>"
		}
		rights += "</grants></default></users><quotas><default/></quotas></clickhouse>\n"
		if err := os.WriteFile(users, []byte(rights), 0o600); err != nil {
			return err
		}
	}
	config := folder + ".xml"
	if err := os.WriteFile(config, []byte(text+"</clickhouse>\n"), 0o600); err != nil {
		return err
	}
	c.engine = &engine{name: fleet.ClickHouse, script: "test/archive/clickhouse/session.mjs", args: []string{folder, config}}
	return c.start()
}

func (c *clickHouse) close() {
	c.stop()
	if c.keeper != nil {
		c.keeper.stop()
	}
}

// needsServer matches statements about roles, for which ClickHouse has no storage when it runs inside a process. Only
// their grammar is checked.
var needsServer = regexp.MustCompile(`^(CREATE ROLE|GRANT)`)

// runPart runs a part of the setup. It adds the access keys to the named collection, as described in the setup's comment.
func (c *clickHouse) runPart(part string) error {
	text, err := fleet.Setup(fleet.Options{Engine: fleet.ClickHouse, Bucket: c.bucket, Part: part})
	if err != nil {
		return err
	}
	return c.setUp(text)
}

func (c *clickHouse) setUp(text string) error {
	for _, sql := range statements(text) {
		switch {
		case strings.HasPrefix(sql, "CREATE NAMED COLLECTION"):
			sql += c.key
		case needsServer.MatchString(sql):
			sql = "EXPLAIN AST " + sql
		}
		if _, err := c.query(sql); err != nil {
			return err
		}
	}
	return nil
}

func (c *clickHouse) ingest() error { return c.runPart("ingest") }

// ingestEveryWay ingests the bucket into empty tables. It interrupts ingestions after increasing times, until one is complete. Then it
// ingests everything again from the beginning while S3Queue also reads everything. whole is the duration of one ingestion.
func (c *clickHouse) ingestEveryWay(p *proof, whole time.Duration, worst *float64) (ways string, err error) {
	for _, table := range []string{"statistics", "objects", "events", "ingested"} {
		if _, err := c.query("TRUNCATE TABLE wayside." + table); err != nil {
			return "", err
		}
	}
	kills := 0
	step := max(whole/20, 5*time.Millisecond)
	for delay := step; delay < time.Hour; delay += step {
		finished := make(chan error, 1)
		go func() { finished <- c.ingest() }()
		select {
		case err := <-finished:
			if err != nil {
				return "", err
			}
			delay = time.Hour // done
		case <-time.After(delay):
			c.kill()
			kills++
			<-finished
			if err := c.start(); err != nil {
				return "", err
			}
		}
	}
	if err := c.ingest(); err != nil { // ingests the rest, if there is any
		return "", err
	}
	if err := p.compareAll(c.engine, worst); err != nil { // compare before anything is read again
		return "", fmt.Errorf("after %d interruptions: %w", kills, err)
	}
	ways = fmt.Sprintf("by schedule, with %d kill -9 of ClickHouse in between", kills)
	if c.keeper == nil {
		return ways + "; not by S3Queue, because there is no ZooKeeper (Debian: zookeeper)", c.again()
	}
	if err := c.runPart("queue"); err != nil {
		return "", err
	}
	if err := c.again(); err != nil { // at the same time as the queues
		return "", err
	}
	return ways + ", and all of it again by S3Queue and by schedule at the same time", c.awaitQueue()
}

// again reads all objects again.
func (c *clickHouse) again() error {
	if _, err := c.query("TRUNCATE TABLE wayside.ingested"); err != nil {
		return err
	}
	return c.ingest()
}

// awaitQueue waits until S3Queue has read every object.
func (c *clickHouse) awaitQueue() error {
	deadline := time.Now().Add(5 * time.Minute)
	for {
		rows, err := c.query(`SELECT countIf(status = 'Processed') AS done, countIf(status = 'Failed') AS failed, any(exception) AS exception,
			(SELECT count() FROM wayside.ingested FINAL) AS objects FROM system.s3queue_metadata_cache`)
		if err != nil {
			return err
		}
		r := rows[0]
		switch {
		case r.number("failed") > 0:
			return fmt.Errorf("S3Queue failed: %s", r.text("exception"))
		case r.number("done") == r.number("objects") && r.number("done") > 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("S3Queue has read %d of %d objects", r.number("done"), r.number("objects"))
		}
		time.Sleep(200 * time.Millisecond)
	}
}
