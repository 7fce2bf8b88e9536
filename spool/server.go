package spool

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/google/uuid"
)

// Server serves the requests of Clients from a Source.
type Server struct {
	source Source
	log    *slog.Logger
}

// NewServer returns a server for a source. If the logger is nil, nothing is logged.
func NewServer(source Source, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{source: source, log: log}
}

// ServeConn serves one connection until the client closes it (ServeConn returns nil), ctx is done (it returns ctx's error), or the client
// violates the protocol (it returns an error that wraps ErrProtocol or describes the malformed frame). It closes the connection, and returns
// after all requests of the connection have ended. A server may serve any number of connections at the same time.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := &serverConn{source: s.source, conn: conn, frames: frameWriter{conn: conn}, cancels: make(map[uint32]context.CancelFunc)}
	defer func() {
		cancel()
		stop()
		_ = conn.Close()
		c.requests.Wait()
	}()
	if _, err := conn.Write(handshake()); err != nil {
		return ended(ctx, err)
	}
	r := bufio.NewReaderSize(conn, 16<<10)
	if err := checkHandshake(r); err != nil {
		if errors.Is(err, ErrProtocol) {
			s.log.Error("refused a spool client that does not speak this protocol or version", "error", err)
		}
		return ended(ctx, err)
	}
	for {
		f, err := readFrame(r)
		if err == nil {
			err = c.begin(ctx, f)
		}
		if err != nil {
			return ended(ctx, err)
		}
	}
}

// ended returns the error with which ServeConn ends: nil if the client closed the connection, and ctx's error after a shutdown.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("serve spool: %w", context.Cause(ctx))
	}
	for _, left := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, left) {
			return nil
		}
	}
	return fmt.Errorf("serve spool: %w", err)
}

type serverConn struct {
	source   Source
	conn     net.Conn
	frames   frameWriter
	requests sync.WaitGroup

	mu      sync.Mutex
	cancels map[uint32]context.CancelFunc // guarded by mu: requests in progress
}

// begin handles a request in a new goroutine. An error ends the connection.
func (c *serverConn) begin(ctx context.Context, f frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.kind == frameCancel {
		if cancel := c.cancels[f.number]; cancel != nil {
			cancel()
		}
		return nil
	}
	if len(c.cancels) >= requestsMax || c.cancels[f.number] != nil {
		return fmt.Errorf("%w: too many requests, or a number used twice", errFrame)
	}
	ctx, cancel := context.WithCancel(ctx)
	c.cancels[f.number] = cancel
	c.requests.Go(func() {
		defer cancel()
		payload, err := c.answer(ctx, f)
		c.mu.Lock()
		delete(c.cancels, f.number) // before the reply, after which the client may reuse the number
		c.mu.Unlock()
		if size := sizeOf(payload); err == nil && size+frameHeaderBytes > FrameBytesMax {
			err = fmt.Errorf("reply of %d bytes is too large", size)
		}
		kind := frameOK
		if err != nil {
			kind, payload = frameError, [][]byte{encodeError(err)}
		}
		if c.frames.write(kind, f.number, payload...) != nil {
			_ = c.conn.Close() // also ends the read loop
		}
	})
	return nil
}

func (c *serverConn) answer(ctx context.Context, f frame) ([][]byte, error) {
	switch f.kind {
	case framePeek:
		return withRequest(f.payload, func(r peekRequest) ([][]byte, error) {
			batches, err := c.source.Peek(ctx, r.options())
			return encodeBatches(batches), err
		})
	case frameAck:
		return withRequest(f.payload, func(r ackRequest) ([][]byte, error) { return nil, c.source.Ack(ctx, r.Epoch, r.Seq) })
	case frameLedgers:
		applied, err := decodeApplied(f.payload)
		if err != nil {
			return nil, err
		}
		ledgers, err := c.source.Ledgers(ctx, applied)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(ledgers)
		return [][]byte{text}, err
	case frameReconcile:
		return withRequest(f.payload, func(r reconcileRequest) ([][]byte, error) {
			missing, err := c.source.Reconcile(ctx, r.Epoch, r.Seq, r.Held)
			return [][]byte{encode(missing)}, err
		})
	case frameRetire:
		return withRequest(f.payload, func(epoch uuid.UUID) ([][]byte, error) { return nil, c.source.Retire(ctx, epoch) })
	case framePublish:
		topic, body, err := decodePublish(f.payload)
		if err != nil {
			return nil, err
		}
		return nil, c.source.Publish(ctx, topic, body)
	case frameFetch:
		if len(f.payload) > topicBytesMax {
			return nil, fmt.Errorf("%w: topic of %d bytes", errFrame, len(f.payload))
		}
		body, err := c.source.Fetch(ctx, string(f.payload))
		return [][]byte{body}, err
	default:
		return nil, fmt.Errorf("%w: type %d", errFrame, f.kind)
	}
}

// withRequest decodes a request payload of fixed size and passes it to a handler.
func withRequest[T any](payload []byte, answer func(T) ([][]byte, error)) ([][]byte, error) {
	r, err := decode[T](payload)
	if err != nil {
		return nil, err
	}
	return answer(r)
}
