package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
)

// This is version 1 of the protocol between Server and Client. Integers are big endian. Each side first sends "WSPL" and its version (2 bytes),
// and continues only if the other side's version is the same. Frames follow:
//
//	length of the rest (4) | type (1) | request number (4) | payload
//
// The reply to each request is one frame with its number: frameOK with the result, or frameError with a code (1) and a message. Replies may
// come in any order. frameCancel has no reply of its own. The request that it cancels still gets its reply.
const (
	protocolMagic   = "WSPL"
	protocolVersion = 1
	handshakeBytes  = len(protocolMagic) + 2

	frameHeaderBytes = 5
	// FrameBytesMax is the largest frame that either side accepts. A batch is at most about as large as a journal segment.
	FrameBytesMax = 48 << 20
	// PublishBytesMax is the largest body of Publish.
	PublishBytesMax = 32 << 20
	topicBytesMax   = 255
	peekBytesMax    = 8 << 20 // the largest MaxBytes that a client may request
	requestsMax     = 64      // requests in progress on one connection
)

type frameType uint8

const (
	framePeek frameType = iota + 1
	frameAck
	frameLedgers
	frameRetire
	framePublish
	frameCancel
	frameOK
	frameError
	frameReconcile
	frameFetch
)

var (
	// ErrProtocol is returned if the peer is not a spool or speaks another protocol version. In the second case, the message names both
	// versions.
	ErrProtocol = errors.New("spool protocol mismatch")
	// ErrDisconnected is wrapped by every error of a Client whose connection is lost. The caller must create a new Client.
	ErrDisconnected = errors.New("spool connection lost")
	// errFrame means that a frame cannot be decoded. The connection is then closed.
	errFrame = errors.New("malformed spool frame")
)

// remoteErrors are the sentinel errors that errors.Is also recognizes on the other side of the connection. An error's code is its index
// here, so the order is part of the protocol. Code 0 means any other error.
var remoteErrors = []error{nil, ErrUnknownEpoch, ErrNotDrained, ErrAckBeyond, ErrClosed}

type frame struct {
	kind    frameType
	number  uint32
	payload []byte
}

func handshake() []byte {
	return binary.BigEndian.AppendUint16([]byte(protocolMagic), protocolVersion)
}

// checkHandshake reads the handshake of the other side.
func checkHandshake(r io.Reader) error {
	var b [handshakeBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	if string(b[:len(protocolMagic)]) != protocolMagic {
		return fmt.Errorf("%w: the other side is not a wayside spool", ErrProtocol)
	}
	if v := binary.BigEndian.Uint16(b[len(protocolMagic):]); v != protocolVersion {
		return fmt.Errorf("%w: this side speaks version %d, the other %d", ErrProtocol, protocolVersion, v)
	}
	return nil
}

// readFrame reads a frame. Memory is allocated as bytes arrive, no matter what length the header announces.
func readFrame(r io.Reader) (frame, error) {
	var h [4 + frameHeaderBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n < frameHeaderBytes || n > FrameBytesMax {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	f := frame{kind: frameType(h[4]), number: binary.BigEndian.Uint32(h[5:])}
	var err error
	f.payload, err = readPayload(r, int(n-frameHeaderBytes))
	return f, err
}

func readPayload(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		at := len(b)
		more := min(n-at, max(step, at))
		b = append(b, make([]byte, more)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return b, nil
}

// frameHead returns the header for a payload of n bytes.
func frameHead(kind frameType, number uint32, n int) []byte {
	h := binary.BigEndian.AppendUint32(nil, uint32(n+frameHeaderBytes))
	return binary.BigEndian.AppendUint32(append(h, byte(kind)), number)
}

// frameWriter writes frames to a connection, one at a time.
type frameWriter struct {
	mu   sync.Mutex
	conn net.Conn
}

func (w *frameWriter) write(kind frameType, number uint32, payload ...[]byte) error {
	buffers := append(net.Buffers{frameHead(kind, number, sizeOf(payload))}, payload...)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := buffers.WriteTo(w.conn)
	return err
}

func sizeOf(payload [][]byte) (size int) {
	for _, piece := range payload {
		size += len(piece)
	}
	return size
}

// Payloads of fixed size. The order of their fields is part of the protocol.
type (
	peekRequest struct {
		MinEvents, MaxBytes uint32
		MaxWait             uint64 // nanoseconds
	}
	ackRequest struct {
		Epoch uuid.UUID
		Seq   uint64
	}
	reconcileRequest struct {
		Epoch     uuid.UUID
		Seq, Held uint64
	}
)

// encode encodes a value of fixed size.
func encode(v any) []byte {
	b, _ := binary.Append(nil, binary.BigEndian, v) // fails only for types without a fixed size
	return b
}

func decode[T any](b []byte) (v T, err error) {
	if n := binary.Size(v); len(b) != n {
		return v, fmt.Errorf("%w: %d bytes instead of %d", errFrame, len(b), n)
	}
	_, err = binary.Decode(b, binary.BigEndian, &v)
	return v, err
}

func encodePeek(o PeekOptions) []byte {
	return encode(peekRequest{clampUint32(o.MinEvents), clampUint32(min(o.MaxBytes, peekBytesMax)), uint64(max(0, o.MaxWait))})
}

func clampUint32(n int) uint32 { return uint32(min(max(0, n), 1<<31-1)) }

// waitMax limits the MaxWait of a client's Peek. A client that wants to wait longer calls Peek again.
const waitMax = time.Minute

func (r peekRequest) options() PeekOptions {
	return PeekOptions{
		MinEvents: int(r.MinEvents), MaxBytes: min(int(r.MaxBytes), peekBytesMax), MaxWait: time.Duration(min(r.MaxWait, uint64(waitMax))),
	}
}

// encodeBatches returns the pieces of a payload: the number of batches, then each batch preceded by its length.
func encodeBatches(batches []event.Batch) (payload [][]byte) {
	payload = append(payload, binary.BigEndian.AppendUint32(nil, uint32(len(batches))))
	for _, b := range batches {
		raw := b.Bytes()
		payload = append(payload, binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw)
	}
	return payload
}

func decodeBatches(b []byte) ([]event.Batch, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: batches of %d bytes", errFrame, len(b))
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	var out []event.Batch
	for range n {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, fmt.Errorf("%w: batch cut short", errFrame)
		}
		end := 4 + int(binary.BigEndian.Uint32(b))
		batch, err := event.ParseBatch(b[4:end:end])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFrame, err)
		}
		out = append(out, batch)
		b = b[end:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errFrame, len(b))
	}
	return out, nil
}

func encodeApplied(applied map[uuid.UUID]uint64) []byte {
	b := make([]byte, 0, 24*len(applied))
	for epoch, seq := range applied {
		b = binary.BigEndian.AppendUint64(append(b, epoch[:]...), seq)
	}
	return b
}

func decodeApplied(b []byte) (map[uuid.UUID]uint64, error) {
	if len(b)%24 != 0 {
		return nil, fmt.Errorf("%w: watermarks of %d bytes", errFrame, len(b))
	}
	out := make(map[uuid.UUID]uint64, len(b)/24)
	for ; len(b) > 0; b = b[24:] {
		out[uuid.UUID(b[:16])] = binary.BigEndian.Uint64(b[16:])
	}
	return out, nil
}

func encodePublish(topic string, body []byte) ([]byte, error) {
	if len(topic) > topicBytesMax || len(body) > PublishBytesMax {
		return nil, fmt.Errorf("publish %q: topic of %d bytes (at most %d), body of %d bytes (at most %d)",
			topic[:min(len(topic), 32)], len(topic), topicBytesMax, len(body), PublishBytesMax)
	}
	b := make([]byte, 0, 1+len(topic)+len(body))
	b = append(b, byte(len(topic)))
	return append(append(b, topic...), body...), nil
}

func decodePublish(b []byte) (topic string, body []byte, err error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) || len(b)-1-int(b[0]) > PublishBytesMax {
		return "", nil, fmt.Errorf("%w: publish of %d bytes", errFrame, len(b))
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

func encodeError(err error) []byte {
	code := byte(0)
	for i, sentinel := range remoteErrors {
		if sentinel != nil && errors.Is(err, sentinel) {
			code = byte(i)
		}
	}
	return append([]byte{code}, err.Error()...)
}

// remoteError is an error that the other side returned.
type remoteError struct {
	text     string
	sentinel error
}

func (e *remoteError) Error() string { return "spool server: " + e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

func decodeError(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty error", errFrame)
	}
	e := &remoteError{text: string(b[1:])}
	if int(b[0]) < len(remoteErrors) {
		e.sentinel = remoteErrors[b[0]]
	}
	return e
}

func decodeLedgers(b []byte) (out []Ledger, err error) {
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%w: ledgers: %w", errFrame, err)
	}
	return out, nil
}
