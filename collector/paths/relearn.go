package paths

import (
	"slices"
	"strings"
)

// relearnLooks bounds the looks at the rows in Relearn. Each but the last finds something, and few do.
const relearnLooks = 64

// Known enters a row that statistics hold into a table whose state is gone: what an archive's rows say. Host, method and
// label are those of the row; proofs is the number of its responses that prove the route, see [Proves]. There is no bound:
// the labels were given within one. Rows may be named once. [Labeler.Relearn] must follow, and then [Labeler.Changes] has
// the state.
func (l *Labeler) Known(host, method, label string, proofs uint64) {
	if host == Other && method == Other && label == Other || label == "" || len(label) > LabelBytesMax {
		return
	}
	l.key = appendRowKey(l.key[:0], host, method, []byte(label))
	if l.rows[string(l.key)] != nil {
		return
	}
	if host != Other && l.hosts[host] == "" {
		host = strings.Clone(host)
		l.hosts[host] = host
		l.journal.hosts = append(l.journal.hosts, host)
		l.nextHost++
	}
	r := l.admit(host, method, label, l.Rules().Label(host, label))
	r.count = int(min(proofs, countMax))
	if label == Other {
		r.count = countMax // nothing is learnt from it
	}
}

// Relearn learns from the rows that were entered what was learnt when their labels were given: the labels from before a
// level was learnt are what it was learnt from, and they are all still there. It looks until nothing new is found. The
// outcome depends on the rows and their order and on nothing else.
func (l *Labeler) Relearn() {
	if l.learnOff {
		return
	}
	l.again = true
	defer func() { l.again = false }()
	for range relearnLooks {
		before := l.Rules()
		l.evaluate()
		if l.Rules() == before {
			break
		}
	}
	l.tally.interval = l.evaluateFirst()
}

// seldom leaves out the children that were asked for often. What is left of a level that was learnt are the labels from
// before, of which no more came afterwards, while its names went on: they would make it look like a level of names. Relearn
// asks for it only where a placeholder stands beside the children, as it does where a level was learnt.
func seldom(children []*child) []*child {
	return slices.DeleteFunc(slices.Clone(children), func(c *child) bool { return c.count >= exceptionCount })
}
