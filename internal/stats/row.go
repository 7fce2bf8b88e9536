// Package stats implements the rows of the statistics: one per path and hour. They remain when the events are deleted.
//
// A [Row] is a pure function of the archived fields of its events, computed in integers: adding the same events in any order, on any
// machine, directly or by merging rows, gives the same row, including each bin of the latency sketch. So statistics can be rebuilt from
// the archive and compared for equality. Percentiles come from the sketch and are within 1.1 % of the true value for any union of rows;
// they are never averaged.
//
// # Limits
//
// A row has at most a thousand status codes, [ErrorTypesMax] error types, 18 gRPC status codes and 1,280 latency bins.
//
// # Format
//
// [Row.AppendBinary] writes version 3 for a row with responses without a latency, version 2 for one with gRPC status codes, and version 1
// for all others. All numbers are unsigned varints unless a width is given:
//
//	version (1 byte) | count | errors | streams | bytes in | bytes out | sum of µs | max of µs
//	n | n × (status code minus the previous one, count)
//	n | n × (length, error type, count), ascending
//	latencies below 1 µs | n | n × (bin minus the previous one, count)
//	from version 2: n | n × (gRPC status code minus the previous one, count); 17 stands for codes that gRPC does not define
//	in version 3: responses without a latency
package stats

import (
	"bytes"
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/internal/event"
)

// ErrorTypesMax is the maximum number of error types in a row. Further types are counted as [OtherType]. wayside has
// fewer types, so only damaged events reach the limit.
const ErrorTypesMax = 64

// OtherType is the error type for all types beyond [ErrorTypesMax].
const OtherType = "(other)"

// statusMax is the first code without its own count: this code and all higher ones are counted as code 0.
const statusMax = 1000

// StatusCount is the number of responses with one status code.
type StatusCount struct {
	Code  uint16 // 0 for a code above 999
	Count uint64
}

// TypeCount is the number of responses with one error type.
type TypeCount struct {
	Type  string
	Count uint64
}

// GRPCCount is the number of gRPC calls that ended with one status code.
type GRPCCount struct {
	Code  uint8 // 0 to 16, or event.GRPCCodeOther
	Count uint64
}

// Row holds the statistics of the responses of one [Key]. The zero value is an empty row, ready for use. A Row must not be copied after
// its first use (see [Row.CopyFrom]). It is not safe for concurrent use.
type Row struct {
	Count    uint64 // responses, including streams
	Errors   uint64 // see event.Event.IsError
	Streams  uint64 // long-lived responses; their latency is the time to the first byte
	BytesIn  uint64 // request bodies
	BytesOut uint64 // response bodies

	SumMicros uint64 // sum of all latencies
	MaxMicros uint64
	Untimed   uint64 // responses without a latency: imported from a log that has none; see [Row.AddUntimed]

	Status     []StatusCount // ascending by code
	ErrorTypes []TypeCount   // ascending by type
	GRPC       []GRPCCount   // ascending by code; excludes calls that ended without a status
	Latency    Sketch
}

// Add adds one response to the row. It ignores drop records, which are not responses. Add does not allocate if the row already
// has the event's status, error type and latency bin.
func (r *Row) Add(e *event.Event) {
	if !e.IsResponse() {
		return
	}
	r.addCounts(e)
	latency := e.LatencyMicros()
	r.SumMicros += latency
	r.MaxMicros = max(r.MaxMicros, latency)
	r.Latency.Add(latency)
}

// AddUntimed adds one response whose latency is not known. The percentiles and the mean do not change.
func (r *Row) AddUntimed(e *event.Event) {
	r.addCounts(e)
	r.Untimed++
}

// addCounts adds a response without its latency.
func (r *Row) addCounts(e *event.Event) {
	r.Count++
	if e.IsError() {
		r.Errors++
	}
	if e.Kind == event.KindStream {
		r.Streams++
	}
	r.BytesIn += e.RequestBytes
	r.BytesOut += e.ResponseBytes
	r.addStatus(e.Status, 1)
	if len(e.ErrorType) > 0 {
		r.addError(e.ErrorType, 1)
	}
	if code, ok := e.GRPCStatus.Code(); ok {
		r.addGRPC(uint8(code), 1)
	}
}

func (r *Row) addStatus(code uint16, count uint64) {
	if code >= statusMax {
		code = 0
	}
	i := 0
	for ; i < len(r.Status) && r.Status[i].Code <= code; i++ {
		if r.Status[i].Code == code {
			r.Status[i].Count += count
			return
		}
	}
	r.Status = slices.Insert(r.Status, i, StatusCount{Code: code, Count: count})
}

func (r *Row) addGRPC(code uint8, count uint64) {
	i := 0
	for ; i < len(r.GRPC) && r.GRPC[i].Code <= code; i++ {
		if r.GRPC[i].Code == code {
			r.GRPC[i].Count += count
			return
		}
	}
	r.GRPC = slices.Insert(r.GRPC, i, GRPCCount{Code: code, Count: count})
}

// addError is like addErrorType, but does not allocate for a known type.
func (r *Row) addError(kind []byte, count uint64) {
	for i := range r.ErrorTypes {
		if r.ErrorTypes[i].Type == string(kind) {
			r.ErrorTypes[i].Count += count
			return
		}
	}
	r.addErrorType(string(kind), count)
}

func (r *Row) addErrorType(kind string, count uint64) {
	at, found := r.findErrorType(kind)
	if !found && len(r.ErrorTypes) >= ErrorTypesMax && kind != OtherType {
		kind = OtherType
		at, found = r.findErrorType(kind)
	}
	if found {
		r.ErrorTypes[at].Count += count
		return
	}
	r.ErrorTypes = slices.Insert(r.ErrorTypes, at, TypeCount{Type: kind, Count: count})
}

func (r *Row) findErrorType(kind string) (int, bool) {
	return slices.BinarySearchFunc(r.ErrorTypes, kind, func(t TypeCount, k string) int { return strings.Compare(t.Type, k) })
}

// Merge adds everything that o counted.
func (r *Row) Merge(o *Row) {
	r.Count += o.Count
	r.Errors += o.Errors
	r.Streams += o.Streams
	r.BytesIn += o.BytesIn
	r.BytesOut += o.BytesOut
	r.SumMicros += o.SumMicros
	r.MaxMicros = max(r.MaxMicros, o.MaxMicros)
	r.Untimed += o.Untimed
	for _, s := range o.Status {
		r.addStatus(s.Code, s.Count)
	}
	for _, t := range o.ErrorTypes {
		r.addErrorType(t.Type, t.Count)
	}
	for _, g := range o.GRPC {
		r.addGRPC(g.Code, g.Count)
	}
	r.Latency.Merge(&o.Latency)
}

// Equal reports whether two rows have equal statistics, including every latency bin.
func (r *Row) Equal(o *Row) bool {
	a, _ := r.AppendBinary(nil) // the errors are always nil
	b, _ := o.AppendBinary(nil)
	return bytes.Equal(a, b)
}

// CopyFrom makes r equal to o, and reuses r's memory.
func (r *Row) CopyFrom(o *Row) {
	r.Reset()
	r.Count, r.Errors, r.Streams = o.Count, o.Errors, o.Streams
	r.BytesIn, r.BytesOut = o.BytesIn, o.BytesOut
	r.SumMicros, r.MaxMicros, r.Untimed = o.SumMicros, o.MaxMicros, o.Untimed
	r.Status = append(r.Status, o.Status...)
	r.ErrorTypes = append(r.ErrorTypes, o.ErrorTypes...)
	r.GRPC = append(r.GRPC, o.GRPC...)
	r.Latency.Merge(&o.Latency)
}

// Reset empties the row and keeps its memory.
func (r *Row) Reset() {
	r.Latency.reset()
	*r = Row{Status: r.Status[:0], ErrorTypes: r.ErrorTypes[:0], GRPC: r.GRPC[:0], Latency: r.Latency}
}

// MemoryBytes estimates the memory of the row.
func (r *Row) MemoryBytes() int {
	return 368 + 16*(cap(r.Status)+cap(r.GRPC)) + 80*cap(r.ErrorTypes) + r.Latency.memoryBytes()
}

// Quantile returns the latency, in microseconds, that the share q of all responses with a latency does not exceed. It is accurate to 1.1
// % and never above the largest latency; 0 for a row without latencies.
func (r *Row) Quantile(q float64) uint64 {
	return min(uint64(r.Latency.Quantile(q)+0.5), r.MaxMicros)
}

// Quantiles is like Quantile for several ascending shares, but faster. dst must have room for one result per share.
func (r *Row) Quantiles(dst []uint64, shares ...float64) {
	values := make([]float64, len(shares))
	r.Latency.Quantiles(values, shares...)
	for i, v := range values {
		dst[i] = min(uint64(v+0.5), r.MaxMicros)
	}
}

// Mean returns the mean latency, rounded to a microsecond; 0 for a row without latencies.
func (r *Row) Mean() uint64 {
	timed := r.Count - min(r.Untimed, r.Count)
	if timed == 0 {
		return 0
	}
	return (r.SumMicros + timed/2) / timed
}
