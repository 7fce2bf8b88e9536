package paths

import (
	"encoding/binary"
	"fmt"
)

// stateVersion is the version byte of persisted entries.
const stateVersion = 1

// Change is one entry to be written with a batch. Entries are only ever added.
type Change struct {
	Key, Value []byte
}

// Begin starts a batch: what is admitted from here on is returned by Changes and undone by Rollback.
func (l *Labeler) Begin() {
	l.addedRows = l.addedRows[:0]
	l.addedHosts = l.addedHosts[:0]
}

// Changes returns what was admitted since Begin, in the order of admission; the caller owns the result. It is nil for
// nearly every batch.
func (l *Labeler) Changes() []Change {
	if len(l.addedRows)+len(l.addedHosts) == 0 {
		return nil
	}
	changes := make([]Change, 0, len(l.addedRows)+len(l.addedHosts))
	first := l.nextHost - uint32(len(l.addedHosts)) //nolint:gosec // bounded by HostsMax
	for i, host := range l.addedHosts {
		changes = append(changes, Change{stateKey('h', first+uint32(i)), appendText([]byte{stateVersion}, host)}) //nolint:gosec // as above
	}
	for _, r := range l.addedRows {
		value := appendText([]byte{stateVersion}, r.host)
		value = appendText(appendText(value, r.method), r.label)
		changes = append(changes, Change{stateKey('r', r.order), value})
	}
	return changes
}

// Commit ends a batch whose changes are durable.
func (l *Labeler) Commit() { l.Begin() }

// Rollback ends a batch that was not applied: everything admitted since Begin is forgotten, as if its events had not been
// seen.
func (l *Labeler) Rollback() {
	if len(l.addedRows)+len(l.addedHosts) == 0 {
		return
	}
	for _, r := range l.addedRows {
		l.key = appendRowKey(l.key[:0], r.host, r.method, []byte(r.label))
		delete(l.rows, string(l.key))
		l.count(r.label, -1)
	}
	for _, host := range l.addedHosts {
		delete(l.hosts, host)
	}
	l.nextRow -= uint32(len(l.addedRows))   //nolint:gosec // bounded by Max
	l.nextHost -= uint32(len(l.addedHosts)) //nolint:gosec // bounded by HostsMax
	l.cache.clear()
	l.Begin()
}

func (l *Labeler) count(label string, n int) {
	if label == Other {
		l.overflow += n
	} else {
		l.ordinary += n
	}
}

// Restore adds one persisted entry; entries may come in any order, before the first Begin. Rows that were admitted under a
// higher Max stay. The error wraps ErrState; the entry is then ignored. The arguments are only read during the call.
func (l *Labeler) Restore(key, value []byte) error {
	if len(key) != 5 || len(value) == 0 || value[0] != stateVersion {
		return fmt.Errorf("%w: key of %d bytes, value of %d", ErrState, len(key), len(value))
	}
	order := binary.BigEndian.Uint32(key[1:])
	rest := value[1:]
	switch key[0] {
	case 'h':
		host, rest, ok := takeText(rest)
		if !ok || len(rest) != 0 || len(host) > HostLabelBytesMax {
			return fmt.Errorf("%w: host %d", ErrState, order)
		}
		l.hosts[host] = host
		l.nextHost = max(l.nextHost, order+1)
	case 'r':
		host, rest, ok1 := takeText(rest)
		method, rest, ok2 := takeText(rest)
		label, rest, ok3 := takeText(rest)
		if !ok1 || !ok2 || !ok3 || len(rest) != 0 || len(label) > LabelBytesMax {
			return fmt.Errorf("%w: row %d", ErrState, order)
		}
		l.restoreRow(host, method, label, order)
	default:
		return fmt.Errorf("%w: kind %q", ErrState, key[0])
	}
	return nil
}

func (l *Labeler) restoreRow(host, method, label string, order uint32) {
	l.nextRow = max(l.nextRow, order+1)
	l.key = appendRowKey(l.key[:0], host, method, []byte(label))
	if l.rows[string(l.key)] != nil {
		return
	}
	l.rows[string(l.key)] = &row{host: host, method: method, label: label, order: order}
	l.count(label, 1)
}

func stateKey(kind byte, order uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, order)
}

func appendText(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

func takeText(src []byte) (text string, rest []byte, ok bool) {
	n, size := binary.Uvarint(src)
	if size <= 0 || n > uint64(len(src)-size) { //nolint:gosec // size is at most len(src)
		return "", nil, false
	}
	end := size + int(n) //nolint:gosec // bounded by len(src)
	return string(src[size:end]), src[end:], true
}
