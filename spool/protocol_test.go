package spool

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/internal/event"
)

// pair serves src over one end of a socket pair and returns a client on the other.
func pair(tb testing.TB, src Source) *Client {
	tb.Helper()
	near, far := net.Pipe()
	return serveOver(tb, src, near, far)
}

func serveOver(tb testing.TB, src Source, near, far net.Conn) *Client {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewServer(src, nil).ServeConn(ctx, far) }()
	c, err := NewClient(near)
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = c.Close()
		if err := <-done; err != nil {
			tb.Errorf("server: %v", err)
		}
		cancel()
	})
	return c
}

func TestClientDrains(t *testing.T) {
	published := make(chan string, 1)
	o := testOptions(t.TempDir())
	o.OnFetch = func(topic string) ([]byte, error) {
		if topic == "none" {
			return nil, errNoTopic
		}
		return []byte("data of " + topic), nil
	}
	o.OnPublish = func(topic string, body []byte) error {
		published <- topic + "=" + string(body)
		return nil
	}
	s := openSet(t, o)
	want := appendN(t, s, 0, 2000)
	mustFlush(t, s)
	a, b, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	c := serveOver(t, s, a, b)
	ledgers, err := c.Ledgers(context.Background(), map[uuid.UUID]uint64{s.Epoch(): 10})
	if err != nil || len(ledgers) != 1 || ledgers[0].Spooled != 1990 || ledgers[0].Recorded != 2000 {
		t.Fatalf("ledgers %+v, %v", ledgers, err)
	}
	wantEvents(t, drain(t, c), want)
	if err := c.Publish(context.Background(), "snapshot", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got := <-published; got != "snapshot={}" {
		t.Fatalf("published %q", got)
	}
	if got, err := c.Fetch(context.Background(), "metrics"); err != nil || string(got) != "data of metrics" {
		t.Fatalf("fetched %q, %v", got, err)
	}
	if _, err := c.Fetch(context.Background(), "none"); err == nil || !strings.Contains(err.Error(), errNoTopic.Error()) {
		t.Fatalf("fetched an unknown topic: %v", err)
	}
	if _, err := c.Fetch(context.Background(), strings.Repeat("t", topicBytesMax+1)); err == nil {
		t.Fatal("a topic that is too long was sent")
	}
	if err := c.Retire(context.Background(), s.Epoch()); !errors.Is(err, ErrNotDrained) {
		t.Fatalf("retire: %v", err)
	}
	if err := c.Ack(context.Background(), uuid.New(), 1); !errors.Is(err, ErrUnknownEpoch) {
		t.Fatalf("ack: %v", err)
	}
	if err := c.Ack(context.Background(), s.Epoch(), 1<<40); !errors.Is(err, ErrAckBeyond) {
		t.Fatalf("ack: %v", err)
	}
}

func socketPair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if a, err = fdConn(fds[0]); err != nil {
		return nil, nil, err
	}
	b, err = fdConn(fds[1])
	return a, b, err
}

func TestClientCancel(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	c := pair(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Peek(ctx, PeekOptions{MaxWait: time.Minute})
		failed <- err
	}()
	if _, err := c.Ledgers(context.Background(), nil); err != nil { // a waiting Peek does not delay other calls
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled peek: %v", err)
	}
	if _, err := c.Ledgers(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestClientDisconnected(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	c := pair(t, s)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Peek(context.Background(), PeekOptions{MaxWait: time.Minute})
		failed <- err
	}()
	if _, err := c.Ledgers(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.Close()
	if err := <-failed; !errors.Is(err, ErrDisconnected) {
		t.Fatalf("peek on a lost connection: %v", err)
	}
	<-c.Done()
	if err := c.Ack(context.Background(), s.Epoch(), 1); !errors.Is(err, ErrDisconnected) {
		t.Fatalf("ack on a lost connection: %v", err)
	}
}

func TestServerStops(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewServer(s, nil).ServeConn(ctx, far) }()
	c, err := NewClient(near)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Peek(context.Background(), PeekOptions{MaxWait: time.Minute})
		failed <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("server: %v", err)
	}
	if err := <-failed; !errors.Is(err, ErrDisconnected) && !errors.Is(err, context.Canceled) && err == nil {
		t.Fatalf("peek: %v", err)
	}
	_ = c.Close()
}

func TestVersionsAreNamed(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		_, _ = far.Write([]byte("WSPL\x00\x07"))
		_, _ = far.Read(make([]byte, handshakeBytes))
	}()
	_, err := NewClient(near)
	if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "version 1") || !strings.Contains(err.Error(), "7") {
		t.Fatalf("handshake: %v", err)
	}
}

func TestFrameLimits(t *testing.T) {
	huge := append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 64)...)
	if _, err := readFrame(bytes.NewReader(huge)); !errors.Is(err, errFrame) {
		t.Fatalf("oversized frame: %v", err)
	}
	s := openSet(t, testOptions(t.TempDir()))
	if err := pair(t, s).Publish(context.Background(), "x", make([]byte, PublishBytesMax+1)); err == nil {
		t.Fatal("oversized body accepted")
	}
}

// FuzzProtocol feeds arbitrary bytes to the server and the decoders: they must not panic, hang, or allocate as much as a length field claims.
func FuzzProtocol(f *testing.F) {
	f.Add([]byte("WSPL\x00\x01"))
	add := func(kind frameType, payload []byte) {
		f.Add(append(append(handshake(), frameHead(kind, 1, len(payload))...), payload...))
	}
	add(framePeek, encodePeek(PeekOptions{MinEvents: 5, MaxBytes: 100}))
	add(frameAck, encode(ackRequest{uuid.Nil, 3}))
	add(frameLedgers, encodeApplied(map[uuid.UUID]uint64{uuid.Nil: 1}))
	add(frameRetire, make([]byte, 16))
	add(framePublish, []byte("\x01ab"))
	add(frameCancel, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeBatches(b)
		_ = decodeError(b)
		_, _ = decodeLedgers(b)
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = NewServer(emptySource{}, nil).ServeConn(context.Background(), far)
		}()
		go func() {
			_, _ = near.Write(b)
			_ = near.Close()
		}()
		buf := make([]byte, 512)
		for {
			if _, err := near.Read(buf); err != nil {
				break
			}
		}
		<-done
	})
}

// emptySource is a Source without events.
type emptySource struct{}

func (emptySource) Peek(context.Context, PeekOptions) ([]event.Batch, error)        { return nil, nil }
func (emptySource) Ack(context.Context, uuid.UUID, uint64) error                    { return nil }
func (emptySource) Ledgers(context.Context, map[uuid.UUID]uint64) ([]Ledger, error) { return nil, nil }
func (emptySource) Retire(context.Context, uuid.UUID) error                         { return nil }
func (emptySource) Reconcile(context.Context, uuid.UUID, uint64, uint64) (uint64, error) {
	return 0, nil
}
func (emptySource) Publish(context.Context, string, []byte) error { return nil }
func (emptySource) Fetch(context.Context, string) ([]byte, error) { return nil, nil }
