package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
)

const (
	// swapClients is the number of clients; each has one connection at a time.
	swapClients = 16
	// unaided is the interval, in swaps, between those that are not followed by a reload. wayside must notice these by itself.
	unaided = 10
	// swapTimeout is much longer than the time that wayside takes to notice a certificate.
	swapTimeout = time.Minute
)

// swapTrial is a wayside whose certificate is replaced again and again, while clients make connections at a constant rate.
type swapTrial struct {
	*tlsTrial
	began time.Time
	pace  time.Duration // time between two connections

	started, done, failed atomic.Int64
	newest                atomic.Int64 // the number of the newest certificate that a client has received
	numbers               sync.Map     // serial number of a certificate, as a string → its number
}

func certificates(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	swaps := flags.Int("swaps", 100, "replacements")
	rate := flags.Int("rate", 1000, "the lowest acceptable number of handshakes a second")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	base, err := newTLSTrial(ctx)
	defer base.end()
	if err != nil {
		return "", err
	}
	t := &swapTrial{tlsTrial: base, pace: time.Duration(float64(time.Second) / (1.05 * float64(*rate)))}
	if err := t.start(ctx); err != nil {
		return "", err
	}
	return t.run(ctx, *swaps, float64(*rate))
}

func (t *swapTrial) start(ctx context.Context) error {
	t.tls.NextProtos = []string{"http/1.1"}
	text := fmt.Sprintf(`listen: %s
tls: {cert_file: %[2]s/..data/edge.crt, key_file: %[2]s/..data/edge.key}
routes:
  - {name: all, respond: {status: 200, body: ok}}
`, t.w.Listen, t.dir)
	if err := errors.Join(os.WriteFile(filepath.Join(t.dir, "edge.yaml"), []byte(text), 0o600), t.replace(0)); err != nil {
		return err
	}
	return t.w.Start(ctx)
}

// replace creates the n-th certificate and replaces the previous one with it, as Kubernetes does: it replaces a link to the certificate's
// folder.
func (t *swapTrial) replace(n int64) error {
	cert, err := t.ca.Make(certtest.Leaf{Names: []string{"edge.test"}})
	if err != nil {
		return err
	}
	t.numbers.Store(cert.TLS.Leaf.SerialNumber.String(), n)
	dir := filepath.Join(t.dir, fmt.Sprint("certificate-", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if _, _, err := cert.Save(dir, "edge"); err != nil {
		return err
	}
	link := filepath.Join(t.dir, "..data_tmp")
	return errors.Join(os.Symlink(dir, link), os.Rename(link, filepath.Join(t.dir, "..data")))
}

func (t *swapTrial) run(ctx context.Context, swaps int, rate float64) (string, error) {
	traffic, endTraffic := context.WithCancel(ctx)
	defer endTraffic()
	var all sync.WaitGroup
	t.began = time.Now()
	for range swapClients {
		all.Go(func() {
			for traffic.Err() == nil {
				t.connect()
			}
		})
	}
	err := t.swapAll(ctx, int64(swaps))
	took := time.Since(t.began)
	endTraffic()
	all.Wait()
	achieved := float64(t.done.Load()) / took.Seconds()
	found := fmt.Sprintf("%d certificates replaced, a reload after %d of them; %d handshakes, %.0f a second, %d failed", swaps, swaps-swaps/unaided,
		t.done.Load(), achieved, t.failed.Load())
	if err == nil && achieved < rate {
		err = fmt.Errorf("fewer than %.0f handshakes a second", rate)
	}
	return found, errors.Join(t.first, err, t.compareBooks(ctx))
}

// swapAll replaces the certificate again and again, each time after a client has received the previous one.
func (t *swapTrial) swapAll(ctx context.Context, swaps int64) error {
	for n := int64(1); n <= swaps; n++ {
		if err := t.replace(n); err != nil {
			return err
		}
		if n%unaided != 0 {
			if _, err := t.w.Ask(ctx, http.MethodPost, "/-/reload"); err != nil {
				return fmt.Errorf("reload %d: %w", n, err)
			}
		}
		for deadline := time.Now().Add(swapTimeout); t.newest.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("no client has received certificate %d within %v", n, swapTimeout)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// connect waits until the next connection is due, makes it, and sends one request.
func (t *swapTrial) connect() {
	due := t.began.Add(time.Duration(t.started.Add(1)) * t.pace)
	time.Sleep(time.Until(due))
	newest := t.newest.Load()
	number, err := t.request()
	switch {
	case err != nil:
	case number < newest:
		err = fmt.Errorf("certificate %d after a client has received certificate %d", number, newest)
	default:
		t.done.Add(1)
		for n := t.newest.Load(); n < number && !t.newest.CompareAndSwap(n, number); n = t.newest.Load() {
		}
		return
	}
	t.failed.Add(1)
	t.note(err)
}

// request sends one request over its own connection, and returns the number of the server's certificate.
func (t *swapTrial) request() (number int64, err error) {
	conn, err := tls.Dial("tcp", t.w.Listen, t.tls)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	body, err := io.ReadAll(conn)
	if err != nil {
		return 0, err
	}
	if want := "HTTP/1.1 200 "; len(body) < len(want) || string(body[:len(want)]) != want {
		return 0, fmt.Errorf("a response begins with %.40q", body)
	}
	known, ok := t.numbers.Load(conn.ConnectionState().PeerCertificates[0].SerialNumber.String())
	if !ok {
		return 0, errors.New("an unknown certificate")
	}
	return known.(int64), nil
}

// compareBooks stops wayside and compares its archive with the number of responses that the clients have received.
func (t *swapTrial) compareBooks(ctx context.Context) error {
	var recorded int64
	err := t.eachEvent(ctx, func(l e2e.Line) {
		if l.Status == http.StatusOK && l.Error == "" {
			recorded++
		}
	})
	if received := t.done.Load() + t.failed.Load(); recorded != received {
		err = errors.Join(err, fmt.Errorf("the clients have received %d responses, the books contain %d", received, recorded))
	}
	return err
}
