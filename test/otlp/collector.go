package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metricsv1 "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracev1 "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/otlptest"
	"github.com/wayside-proxy/wayside/test/testlog"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// collector is an OpenTelemetry Collector that writes what it receives to two files.
type collector struct {
	dir, binary, address string
	cmd                  *exec.Cmd
	log                  testlog.Buffer
}

// collectorConfig makes the collector receive OTLP over HTTP and write each request to a file, in the binary form of the protocol.
const collectorConfig = `receivers: {otlp: {protocols: {http: {endpoint: %[1]q}}}}
exporters:
  file/metrics: {path: %[2]s/metrics, format: proto, append: true}
  file/traces: {path: %[2]s/traces, format: proto, append: true}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [otlp], exporters: [file/metrics]}
    traces: {receivers: [otlp], exporters: [file/traces]}
`

func newCollector(dir string) (*collector, error) {
	fmt.Println("building the OpenTelemetry Collector, which takes minutes the first time")
	binary, err := toolbin.Binary("otelcol", "otelcol", ".")
	if err != nil {
		return nil, err
	}
	address, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	c := &collector{dir: filepath.Join(dir, "collector"), binary: binary, address: address}
	if err := os.Mkdir(c.dir, 0o750); err != nil {
		return nil, err
	}
	return c, os.WriteFile(filepath.Join(c.dir, "config.yaml"), fmt.Appendf(nil, collectorConfig, address, c.dir), 0o600)
}

// start starts the collector and waits until it accepts connections.
func (c *collector) start() error {
	c.cmd = exec.Command(c.binary, "--config", filepath.Join(c.dir, "config.yaml"))
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			_ = c.stop()
			return fmt.Errorf("the collector does not listen: %w\n%s", err, c.log.String())
		}
	}
}

// stop ends the collector, which writes everything that it has accepted.
func (c *collector) stop() error {
	if c.cmd == nil {
		return nil
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	err := c.cmd.Wait()
	c.cmd = nil
	return err
}

// read returns everything that the collector has written.
func (c *collector) read() (export otlptest.Export, err error) {
	err = eachMessage(filepath.Join(c.dir, "metrics"), func(b []byte) error {
		var m metricsv1.MetricsData
		if err := proto.Unmarshal(b, &m); err != nil {
			return err
		}
		export.AddMetrics(m.GetResourceMetrics())
		return nil
	})
	return export, errors.Join(err, eachMessage(filepath.Join(c.dir, "traces"), func(b []byte) error {
		var m tracev1.TracesData
		if err := proto.Unmarshal(b, &m); err != nil {
			return err
		}
		export.AddSpans(m.GetResourceSpans())
		return nil
	}))
}

// eachMessage calls fn with each message in a file. Each is preceded by its length.
func eachMessage(name string, fn func([]byte) error) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for len(b) > 0 {
		const head = 4
		if len(b) < head || uint64(len(b)-head) < uint64(binary.BigEndian.Uint32(b)) {
			return fmt.Errorf("%s ends in the middle of a message", name)
		}
		end := head + int(binary.BigEndian.Uint32(b))
		if err := fn(b[head:end]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b = b[end:]
	}
	return nil
}
