package spool

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// handshakeTimeout bounds how long NewClient waits for the other side's handshake.
const handshakeTimeout = 10 * time.Second

// Client is a Source that reaches the spool through a connection. Several goroutines may use it at the same time; a call that is waiting
// does not delay others. After the connection has been lost, every call fails with ErrDisconnected.
type Client struct {
	conn   net.Conn
	reader chan struct{} // closed when the read goroutine has ended

	frames frameWriter

	mu      sync.Mutex
	next    uint32                // guarded by mu
	waiting map[uint32]chan frame // guarded by mu: each receives one reply, or is closed when the connection is lost
	lost    error                 // guarded by mu: why the connection was lost; nil while connected
}

var _ Source = (*Client)(nil)

// NewClient performs the handshake and starts the goroutine that reads replies; Close ends it. The client owns the connection, even if
// NewClient fails. If the peer speaks another protocol version, the error wraps ErrProtocol and names both versions.
func NewClient(conn net.Conn) (*Client, error) {
	timeout := time.AfterFunc(handshakeTimeout, func() { _ = conn.Close() })
	defer timeout.Stop()
	r := bufio.NewReaderSize(conn, 64<<10)
	sent := make(chan error, 1)
	go func() { // both sides send first: over an unbuffered pipe, a write blocks until the other side reads
		_, err := conn.Write(handshake())
		sent <- err
	}()
	err := checkHandshake(r)
	if err != nil {
		_ = conn.Close()
		<-sent //nolint:errcheck // the handshake has failed already
		return nil, err
	}
	if err := <-sent; err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	c := &Client{conn: conn, frames: frameWriter{conn: conn}, reader: make(chan struct{}), waiting: make(map[uint32]chan frame)}
	go c.read(r)
	return c, nil
}

// Close closes the connection and waits until the read goroutine has ended. Calls in progress fail with ErrDisconnected.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.reader
	if err != nil {
		return fmt.Errorf("close spool client: %w", err)
	}
	return nil
}

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Client) Done() <-chan struct{} { return c.reader }

func (c *Client) read(r *bufio.Reader) {
	defer close(c.reader)
	for {
		f, err := readFrame(r)
		if err != nil {
			c.lose(err)
			return
		}
		c.mu.Lock()
		answer := c.waiting[f.number]
		delete(c.waiting, f.number)
		c.mu.Unlock()
		if answer != nil {
			answer <- f // capacity 1
		}
	}
}

func (c *Client) lose(err error) {
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil {
		c.lost = fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	for number, answer := range c.waiting {
		close(answer)
		delete(c.waiting, number)
	}
}

func (c *Client) lostError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// call sends a request and waits for its reply. When ctx is done, it cancels the request and returns.
func (c *Client) call(ctx context.Context, kind frameType, payload []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answer := make(chan frame, 1)
	c.mu.Lock()
	if c.lost != nil {
		defer c.mu.Unlock()
		return nil, c.lost
	}
	c.next++
	number := c.next
	c.waiting[number] = answer
	c.mu.Unlock()
	if err := c.frames.write(kind, number, payload); err != nil {
		c.lose(err)
		return nil, c.lostError()
	}
	select {
	case f, ok := <-answer:
		switch {
		case !ok:
			return nil, c.lostError()
		case f.kind == frameOK:
			return f.payload, nil
		case f.kind == frameError:
			return nil, decodeError(f.payload)
		default:
			return nil, fmt.Errorf("%w: reply of type %d", errFrame, f.kind)
		}
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, number) // a late reply is discarded
		c.mu.Unlock()
		if err := c.frames.write(frameCancel, number); err != nil {
			c.lose(err)
		}
		return nil, ctx.Err()
	}
}

// Peek implements Source. MaxBytes is limited to 8 MiB and MaxWait to one minute.
func (c *Client) Peek(ctx context.Context, o PeekOptions) ([]event.Batch, error) {
	b, err := c.call(ctx, framePeek, encodePeek(o))
	if err != nil {
		return nil, fmt.Errorf("peek spool: %w", err)
	}
	return decodeBatches(b)
}

// Ack implements Source.
func (c *Client) Ack(ctx context.Context, epoch uuid.UUID, seq uint64) error {
	if _, err := c.call(ctx, frameAck, encode(ackRequest{epoch, seq})); err != nil {
		return fmt.Errorf("acknowledge %s: %w", epoch, err)
	}
	return nil
}

// Ledgers implements Source.
func (c *Client) Ledgers(ctx context.Context, applied map[uuid.UUID]uint64) ([]Ledger, error) {
	b, err := c.call(ctx, frameLedgers, encodeApplied(applied))
	if err != nil {
		return nil, fmt.Errorf("read spool ledgers: %w", err)
	}
	return decodeLedgers(b)
}

// Reconcile implements Source.
func (c *Client) Reconcile(ctx context.Context, epoch uuid.UUID, seq, held uint64) (missing uint64, err error) {
	b, err := c.call(ctx, frameReconcile, encode(reconcileRequest{epoch, seq, held}))
	if err != nil {
		return 0, fmt.Errorf("reconcile %s: %w", epoch, err)
	}
	return decode[uint64](b)
}

// Retire implements Source.
func (c *Client) Retire(ctx context.Context, epoch uuid.UUID) error {
	if _, err := c.call(ctx, frameRetire, epoch[:]); err != nil {
		return fmt.Errorf("retire %s: %w", epoch, err)
	}
	return nil
}

// Fetch implements Source. The result is smaller than FrameBytesMax.
func (c *Client) Fetch(ctx context.Context, topic string) ([]byte, error) {
	if len(topic) > topicBytesMax {
		return nil, fmt.Errorf("fetch a topic of %d bytes: the maximum is %d", len(topic), topicBytesMax)
	}
	body, err := c.call(ctx, frameFetch, []byte(topic))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", topic, err)
	}
	return body, nil
}

// Publish implements Source. The body is at most PublishBytesMax bytes.
func (c *Client) Publish(ctx context.Context, topic string, body []byte) error {
	payload, err := encodePublish(topic, body)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, framePublish, payload); err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}
