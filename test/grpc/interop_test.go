// Package grpc runs gRPC's own interoperability tests (https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md) through the
// real binary, and checks that the books have each call exactly once, under its method, with its status.
package grpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
	"github.com/wayside-proxy/wayside/test/testlog"
	"github.com/wayside-proxy/wayside/test/toolbin"
)

// caseTimeout limits one case.
const caseTimeout = 2 * time.Minute

// testService is the service of most calls.
const testService = "/grpc.testing.TestService/"

// orca makes the client take reports of load.
const orca = `{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`

// cases are the calls of each case: the method, and the status of HTTP and of gRPC as the books have them. A call of a client that leaves has
// 499 and no status of gRPC. Of those with "any", the client leaves at once: there may be no call, or one with any status. Cases that need an
// account at Google are left out, and pick_first_unary, which gRPC's server in Go does not know.
var cases = map[string][]string{
	"empty_unary":                 {"EmptyCall 200 0"},
	"large_unary":                 {"UnaryCall 200 0"},
	"client_streaming":            {"StreamingInputCall 200 0"},
	"server_streaming":            {"StreamingOutputCall 200 0"},
	"ping_pong":                   {"FullDuplexCall 200 0"},
	"empty_stream":                {"FullDuplexCall 200 0"},
	"timeout_on_sleeping_server":  {"FullDuplexCall any"},
	"cancel_after_begin":          {"StreamingInputCall any"},
	"cancel_after_first_response": {"FullDuplexCall 499 -"},
	"status_code_and_message":     {"FullDuplexCall 200 2", "UnaryCall 200 2"},
	"special_status_message":      {"UnaryCall 200 2"},
	"custom_metadata":             {"FullDuplexCall 200 0", "UnaryCall 200 0"},
	"unimplemented_method":        {"UnimplementedCall 200 12"},
	"unimplemented_service":       {"/grpc.testing.UnimplementedService/UnimplementedCall 200 12"},
	"rpc_soak":                    slices.Repeat([]string{"UnaryCall 200 0"}, 10),
	"channel_soak":                slices.Repeat([]string{"UnaryCall 200 0"}, 10),
	"orca_per_rpc":                {"UnaryCall 200 0", "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics 499 -"},
	"orca_oob":                    {"FullDuplexCall 499 -", "UnaryCall 200 0", "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics 499 -"},
}

// call is an event of the API.
type call struct {
	ID       string `json:"event_id"`
	Path     string `json:"url_path"`
	Template string `json:"url_template"`
	Protocol string `json:"network_protocol_version"`
	Status   int    `json:"http_response_status_code"`
	GRPC     *int   `json:"rpc_grpc_status_code"`
}

func (c call) String() string {
	code := "-"
	if c.GRPC != nil {
		code = fmt.Sprint(*c.GRPC)
	}
	return fmt.Sprintf("%s %d %s", strings.TrimPrefix(c.Path, testService), c.Status, code)
}

func TestInterop(t *testing.T) {
	client, err := toolbin.Binary("grpc-interop-client", "grpc", "google.golang.org/grpc/interop/client")
	if err != nil {
		t.Fatal(err)
	}
	server, err := toolbin.Binary("grpc-interop-server", "grpc", "google.golang.org/grpc/interop/server")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := e2e.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, driver         string
		clientTLS, serverTLS bool
	}{
		{"h2c to h2c, on loops", "loop", false, false},
		{"h2c to h2c, on goroutines", "goroutine", false, false},
		{"h2c to h2, on loops", "loop", false, true},
		{"h2 to h2c", "auto", true, false},
		{"h2 to h2", "auto", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most cases wait for the books
			r := rig{t: t, dir: t.TempDir(), client: client}
			r.writeCertificate()
			r.startServer(server, test.serverTLS)
			r.startWayside(binary, test.driver, test.clientTLS, test.serverTLS)
			names := make([]string, 0, len(cases))
			for name := range cases {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				r.run(name, test.clientTLS)
			}
		})
	}
}

// rig is a server of gRPC with wayside in front of it.
type rig struct {
	t           *testing.T
	dir, client string
	cert, key   string // files
	server      string // address
	wayside     *e2e.Wayside
	seen        map[string]bool // events, by their id
}

func (r *rig) startServer(binary string, encrypted bool) {
	r.t.Helper()
	r.server = loopback.Free(r.t)
	_, port, _ := net.SplitHostPort(r.server)
	args := []string{"-port", port}
	if encrypted {
		args = append(args, "-use_tls", "-tls_cert_file", r.cert, "-tls_key_file", r.key)
	}
	cmd := exec.Command(binary, args...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", r.server)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(limit) {
			r.t.Fatal("the server of gRPC does not listen: ", err)
		}
	}
}

func (r *rig) startWayside(binary, driver string, clientTLS, serverTLS bool) {
	r.t.Helper()
	listen := loopback.Free(r.t)
	config := fmt.Sprintf("upstreams: {grpc: 'h2c://%s'}\nroutes: [{name: all, to: grpc}]\nproxy: {driver: %s}\n", r.server, driver)
	if serverTLS {
		config = fmt.Sprintf("upstreams: {grpc: {servers: ['https://%s'], tls: {ca_file: '%s'}}}\nroutes: [{name: all, to: grpc}]\nproxy: {driver: %s}\n", r.server, r.cert, driver)
	}
	file := filepath.Join(r.dir, "wayside.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	args := []string{"--config", file}
	if clientTLS {
		args = append(args, "--tls-cert", r.cert, "--tls-key", r.key)
	}
	var log testlog.Buffer
	r.wayside = &e2e.Wayside{Binary: binary, DataDir: filepath.Join(r.dir, "data"), Listen: listen, Log: &log, Args: args}
	if err := r.wayside.Start(r.t.Context()); err != nil {
		r.t.Fatalf("%v\n%s", err, log.String())
	}
	r.seen = map[string]bool{}
	r.t.Cleanup(func() {
		r.wayside.Kill()
		if r.t.Failed() {
			r.t.Logf("%s", log.String())
		}
	})
}

// run runs one case, and compares its calls with the books.
func (r *rig) run(name string, encrypted bool) {
	ctx, cancel := context.WithTimeout(r.t.Context(), caseTimeout)
	defer cancel()
	host, port, _ := net.SplitHostPort(r.wayside.Listen)
	args := []string{"-test_case", name, "-server_host", host, "-server_port", port}
	if strings.HasPrefix(name, "orca_") {
		args = append(args, "-service_config_json", orca)
	}
	if encrypted {
		args = append(args, "-use_tls", "-use_test_ca", "-ca_file", r.cert)
	}
	out, err := exec.CommandContext(ctx, r.client, args...).CombinedOutput()
	if err != nil {
		r.t.Errorf("%s: %v\n%s", name, err, out)
	}
	r.awaitEnd(ctx)
	if _, err := r.wayside.AwaitSettled(ctx); err != nil {
		r.t.Errorf("%s: %v", name, err)
		return
	}
	got, want := r.newCalls(ctx), cases[name]
	slices.Sort(got)
	if name == "orca_oob" {
		got = slices.Compact(got) // it repeats a call until it has what it waits for
	}
	if method, ok := strings.CutSuffix(want[0], " any"); ok && (len(got) == 0 || len(got) == 1 && strings.HasPrefix(got[0], method+" ")) {
		return
	}
	if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		r.t.Errorf("%s: the books have %q, want %q", name, got, want)
	}
}

// awaitEnd waits until wayside has noticed that the client has ended.
func (r *rig) awaitEnd(ctx context.Context) {
	for {
		metrics, err := r.wayside.Ask(ctx, "GET", "/metrics")
		if idle(metrics) {
			return
		}
		select {
		case <-ctx.Done():
			r.t.Error("the client's connections are still there: ", err)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// newCalls returns the calls that the books have since the last time.
func (r *rig) newCalls(ctx context.Context) (lines []string) {
	body, err := r.wayside.Ask(ctx, "GET", "/api/v1/events?limit=1000")
	if err != nil {
		r.t.Error(err)
		return nil
	}
	var page struct {
		Events []call `json:"events"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&page); err != nil {
		r.t.Errorf("%v in %s", err, body)
		return nil
	}
	for _, c := range page.Events {
		if r.seen[c.ID] {
			continue
		}
		r.seen[c.ID] = true
		lines = append(lines, c.String())
		if c.Template != c.Path || c.Protocol != "2" {
			r.t.Errorf("%s has the template %s and the protocol %s", c.Path, c.Template, c.Protocol)
		}
	}
	return lines
}

// writeCertificate makes a certificate for 127.0.0.1 that is its own authority.
func (r *rig) writeCertificate() {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		r.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(r.dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			r.t.Fatal(err)
		}
		return file
	}
	r.cert, r.key = write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", der)
}

// idle reports whether nobody is connected and no request is handled.
func idle(metrics []byte) bool {
	return bytes.Contains(metrics, []byte("\nwayside_proxy_client_connections 0\n")) &&
		bytes.Contains(metrics, []byte("\nwayside_proxy_requests_in_flight 0\n")) &&
		bytes.Contains(metrics, []byte("\nwayside_proxy_http2_streams 0\n"))
}
