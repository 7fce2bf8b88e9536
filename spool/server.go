package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/wayside-proxy/wayside/internal/event"
)

// Server lets a Source be used over connections.
type Server struct {
	source Source
	log    *slog.Logger
}

// NewServer returns a server for a source. A nil logger discards.
func NewServer(source Source, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{source: source, log: log}
}

// ServeConn answers one connection until the client leaves (nil), ctx is done (its error), or the client breaks the
// protocol (an error that wraps ErrProtocol, or says what was malformed). It closes the connection and returns only after
// every request it began has ended. A server may serve any number of connections at once.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := &serverConn{source: s.source, conn: conn, cancels: make(map[uint32]context.CancelFunc)}
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
			s.log.Error("spool client refused", "error", err)
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

// ended makes a client that left no error, and tells a shutdown from a fault.
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
	requests sync.WaitGroup

	writing sync.Mutex // held for a whole frame

	mu      sync.Mutex
	cancels map[uint32]context.CancelFunc // guarded by mu: requests not yet answered
}

// begin starts to answer a request in a goroutine of its own. An error ends the connection.
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
		parts, size, err := c.answer(ctx, f)
		c.mu.Lock()
		delete(c.cancels, f.number) // before the answer, after which the client may use the number again
		c.mu.Unlock()
		kind := frameOK
		if err == nil && size+frameHeaderBytes > FrameBytesMax {
			err = fmt.Errorf("answer of %d bytes is too large", size)
		}
		if err != nil {
			text := encodeError(err)
			kind, parts, size = frameError, [][]byte{text}, len(text)
		}
		if c.write(kind, f.number, parts, size) != nil {
			_ = c.conn.Close() // ends the read loop, too
		}
	})
	return nil
}

func (c *serverConn) write(kind frameType, number uint32, parts [][]byte, size int) error {
	buffers := net.Buffers(append([][]byte{frameHead(kind, number, size)}, parts...))
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := buffers.WriteTo(c.conn)
	return err
}

func (c *serverConn) answer(ctx context.Context, f frame) (parts [][]byte, size int, err error) {
	switch f.kind {
	case framePeek:
		var o PeekOptions
		if o, err = decodePeek(f.payload); err == nil {
			var batches []event.Batch
			batches, err = c.source.Peek(ctx, o)
			parts, size = encodeBatches(batches)
		}
	case frameAck:
		epoch, seq, derr := decodeAck(f.payload)
		if err = derr; err == nil {
			err = c.source.Ack(ctx, epoch, seq)
		}
	case frameLedgers:
		applied, derr := decodeApplied(f.payload)
		if err = derr; err == nil {
			var ledgers []Ledger
			if ledgers, err = c.source.Ledgers(ctx, applied); err == nil {
				var text []byte
				text, err = json.Marshal(ledgers)
				parts, size = [][]byte{text}, len(text)
			}
		}
	case frameReconcile:
		epoch, seq, held, derr := decodeReconcile(f.payload)
		if err = derr; err == nil {
			var missing uint64
			missing, err = c.source.Reconcile(ctx, epoch, seq, held)
			parts, size = [][]byte{binary.BigEndian.AppendUint64(nil, missing)}, 8
		}
	case frameRetire:
		epoch, derr := decodeRetire(f.payload)
		if err = derr; err == nil {
			err = c.source.Retire(ctx, epoch)
		}
	case framePublish:
		topic, body, derr := decodePublish(f.payload)
		if err = derr; err == nil {
			err = c.source.Publish(ctx, topic, body)
		}
	default:
		err = fmt.Errorf("%w: type %d", errFrame, f.kind)
	}
	return parts, size, err
}
