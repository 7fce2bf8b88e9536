package paths

import (
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// relearnMax bounds the evaluations in Relearn. Each except the last learns something, and there are usually few.
const relearnMax = 64

// Known adds a row that an archive has, to a labeler whose state was lost. proofs is the number of its responses that prove the route,
// see [Proofs]; grpc says that it counts gRPC calls. Known has no bound, because the labels were given within one. It must be called once
// for each row, and then [Labeler.Relearn].
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
		r.count = countMax // it is not learnt from
	}
}

// Relearn learns from the known rows what the lost labeler had learnt. The labels that were given before a level was learnt are
// those from which it was learnt, and they are all among the rows. Relearn evaluates the rows until it learns nothing new. The
// result depends only on the rows and their order.
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

// rare returns the children with few responses. Of a level that was learnt, the older labels remain: its values got no more
// responses under them, while its names did, so the names would make it look like a level of names. Relearn uses rare only if
// the children have a placeholder among their siblings, as a learnt level has.
func rare(children []*child) []*child {
	return slices.DeleteFunc(slices.Clone(children), func(c *child) bool { return c.count >= exceptionCount })
}
