package paths

import (
	"bytes"
	"sync"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// isGRPCMethod reports whether a path has the form of a gRPC method, "/Service/Method", and consists only of letters,
// digits, "_", "." and "-".
func isGRPCMethod(path []byte) bool {
	if path[0] != '/' || len(path) > LabelBytesMax {
		return false
	}
	service, method, found := bytes.Cut(path[1:], []byte{'/'})
	return found && isGRPCName(service) && isGRPCName(method)
}

func isGRPCName(text []byte) bool {
	for _, c := range text {
		if !isLetter(c) && !isDigit(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return len(text) > 0
}

// exactRows counts the rows of each gRPC method. The rules do not change the labels of these rows. Rules may read the counts while the
// Labeler adds to them.
type exactRows struct{ sync.Map } // of int, by mergedKey

// add adds n to the number of rows.
func (e *exactRows) add(r *row, n int) {
	key := mergedKey(r.host, r.label)
	if have, known := e.Load(key); known {
		n += have.(int) //nolint:forcetypeassert // the map has no other values
	}
	if n <= 0 {
		e.Delete(key)
		return
	}
	e.Store(key, n)
}

// keepExact turns the row of an ordinary path into the row of a gRPC method.
func (l *Labeler) keepExact(r *row, grpc bool) {
	if !grpc || r.grpc {
		return
	}
	l.journal.save(l)
	l.journal.counted(r)
	decrement(l.shown, r.shownKey())
	decrement(l.merged, mergedKey(r.host, r.shown))
	r.grpc, r.shown = true, r.label
	l.shown[r.shownKey()]++
	l.merged[mergedKey(r.host, r.shown)]++
	l.exact.add(r, 1)
	l.cache.clear()
}

// proves reports whether a response proves that the route exists. See [Proves] and [ProvesGRPC].
func proves(e *event.Event) bool {
	if !Proves(e.Status) || e.GRPCStatus == event.GRPCNone {
		return Proves(e.Status)
	}
	code, ok := e.GRPCStatus.Code()
	return ok && ProvesGRPC(code)
}

// Proves reports whether a response with this status proves that the route exists. A response with 501 to 504 may come
// from a proxy instead of the upstream.
func Proves(status uint16) bool {
	return status < 400 || status == 500 || status > 504
}

// ProvesGRPC reports whether a gRPC status proves that the method exists. A server returns UNIMPLEMENTED for a method that it does not
// have. UNAVAILABLE, UNAUTHENTICATED and PERMISSION_DENIED may come from a proxy or an interceptor that does not know the methods.
func ProvesGRPC(code int) bool {
	switch code {
	case 7, 12, 14, 16, event.GRPCCodeOther:
		return false
	}
	return true
}

// Proofs returns how many of a row's responses prove that the route exists.
func Proofs(row *stats.Row) (n uint64) {
	if len(row.GRPC) > 0 { // gRPC calls have the HTTP status 200 regardless of their gRPC status
		for _, g := range row.GRPC {
			if ProvesGRPC(int(g.Code)) {
				n += g.Count
			}
		}
		return n
	}
	for _, s := range row.Status {
		if Proves(s.Code) {
			n += s.Count
		}
	}
	return n
}
