package paths

import (
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// relearnMax limits the number of evaluations in Relearn. Each evaluation except the last learns something, and a few are usually enough.
const relearnMax = 64

// Known adds a row from an archive to a labeler whose state was lost. proofs is the number of the row's responses that prove that the
// route exists (see [Proofs]); grpc means that the row counts gRPC calls. Known checks no bounds, because they already applied when the
// labels were assigned. Call it once for each row, and then call [Labeler.Relearn].
func (l *Labeler) Known(row catalogue.RowName, proofs uint64, grpc bool) {
	host, label := row.Host, row.Label
	if host == Other && row.Method == Other && label == Other && (row.Route == "" || row.Route == Other) ||
		label == Malformed || label == "" || len(label) > LabelBytesMax || len(row.Route) > routeBytesMax {
		return
	}
	n := name{host: host, method: row.Method, label: label, route: row.Route, grpc: grpc && isGRPCMethod([]byte(label))}
	l.key = appendRowKey(l.key[:0], &n)
	if l.rows[string(l.key)] != nil {
		return
	}
	if host != Other && l.hosts[host] == "" {
		host = strings.Clone(host)
		n.host = host
		l.hosts[host] = host
		l.journal.hosts = append(l.journal.hosts, host)
		l.nextHost++
	}
	shown := label
	if !n.grpc {
		shown = l.Rules().Label(host, label)
	}
	r := l.admit(n, shown)
	r.count = int(min(proofs, countMax))
	if label == Other {
		r.count = countMax // the labeler does not learn from it
	}
}

// Relearn learns from the rows added with [Labeler.Known] what the lost labeler had learned. This works because every level was learned
// from earlier labels, all of which are among the rows. Relearn evaluates the rows repeatedly until it learns nothing new. The result
// depends only on the rows and their order.
func (l *Labeler) Relearn() {
	if l.learnOff {
		return
	}
	l.relearning = true
	defer func() { l.relearning = false }()
	for range relearnMax {
		before := l.Rules()
		l.evaluate()
		if l.Rules() == before {
			break
		}
	}
	l.tally.interval = l.evaluateFirst()
}

// rare returns the children with few responses. Since a level was learned, no more responses have been counted under the older labels of
// its values, while the counts of its names have continued to grow. So, judged by its rows, the level seems to have only names as
// children. Relearn uses rare only if there is a placeholder among the siblings, as there is at a learned level.
func rare(children []*child) []*child {
	return slices.DeleteFunc(slices.Clone(children), func(c *child) bool { return c.count >= exceptionCount })
}
