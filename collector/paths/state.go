package paths

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/varint"
)

// Version bytes of persisted entries.
const (
	stateVersion   = 1
	rowVersion     = 2 // version of rows; version 1 had no count
	rowVersionEdge = 3 // version of rows that have a route or count gRPC calls
	// catchAllOrder is the order number of the rows that always exist and are never written.
	catchAllOrder = 1<<32 - 1
)

// Change is one entry to be written with a batch; a nil Value removes the key.
type Change struct {
	Key, Value []byte
}

// Begin starts a batch. Changes returns everything that has been learned since Begin, and Rollback undoes it.
func (l *Labeler) Begin() { l.journal.begin(l) }

// Changes returns the entries that have changed since Begin, sorted by key; a nil Value removes the key. The caller owns the result. When
// the counts of all rows have reached their maximum, the result is one small entry per batch.
func (l *Labeler) Changes() []Change {
	j := &l.journal
	var changes []Change
	first := l.nextHost - uint32(len(j.hosts)) // bounded by HostsMax
	for i, host := range j.hosts {
		changes = append(changes, Change{stateKey('h', first+uint32(i)), varint.AppendText([]byte{stateVersion}, host)})
	}
	for r := range j.rows {
		if r.label == Other && r.order < j.next[0] {
			continue // never changes
		}
		changes = append(changes, Change{stateKey('r', r.order), r.encode()})
	}
	for _, order := range j.rowsGone {
		changes = append(changes, Change{Key: stateKey('r', order)})
	}
	for order, v := range j.levels {
		changes = append(changes, Change{stateKey('c', order), v.encode()})
	}
	for order := range j.levelsGone {
		changes = append(changes, Change{Key: stateKey('c', order)})
	}
	if l.tally != j.tally && !l.learnOff {
		value := binary.AppendUvarint([]byte{stateVersion}, l.tally.events)
		value = binary.AppendUvarint(binary.AppendUvarint(value, l.tally.next), l.tally.interval)
		changes = append(changes, Change{stateKey('t', 0), value})
	}
	slices.SortFunc(changes, func(a, b Change) int { return bytes.Compare(a.Key, b.Key) })
	return changes
}

func (r *row) encode() []byte {
	value := varint.AppendText([]byte{rowVersion}, r.host)
	value = varint.AppendText(varint.AppendText(value, r.method), r.label)
	value = binary.AppendUvarint(value, uint64(r.count))
	if r.route == "" && !r.grpc {
		return value
	}
	value[0] = rowVersionEdge
	value = append(varint.AppendText(value, r.route), 0)
	if r.grpc {
		value[len(value)-1] = 1
	}
	return value
}

// Kinds of levels, which say what the names stored with a level mean.
const (
	levelLikely = 0 // all children except these are shown merged
	levelLearnt = 1 // all children except these are values
	levelOnly   = 2 // these children are shown merged
)

func (v *level) encode() []byte {
	value, names := []byte{stateVersion, levelLikely}, v.except
	switch {
	case v.learnt:
		value[1] = levelLearnt
	case v.only != nil:
		value[1], names = levelOnly, v.only
	}
	value = varint.AppendText(varint.AppendText(value, v.host), v.prefix)
	value = binary.AppendUvarint(value, uint64(len(names)))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		value = varint.AppendText(value, name)
	}
	return value
}

// Commit ends a batch whose changes have become durable.
func (l *Labeler) Commit() { l.Begin() }

// Rollback ends a batch that was not applied and undoes everything since Begin, as if the labeler had never seen the events of the batch.
func (l *Labeler) Rollback() {
	l.journal.undo(l)
	l.Begin()
}

// Restore adds one persisted entry. It must be called before the first Begin. The order of entries does not matter. Rows that were
// admitted under a higher Max stay. If the entry is invalid, it is ignored, and the error wraps [ErrState]. Restore does not retain its
// arguments.
func (l *Labeler) Restore(key, value []byte) error {
	if len(key) != 5 || len(value) == 0 || value[0] == 0 || value[0] > rowVersionEdge || value[0] > stateVersion && key[0] != 'r' {
		return fmt.Errorf("%w: key of %d bytes, value of %d", ErrState, len(key), len(value))
	}
	order := binary.BigEndian.Uint32(key[1:])
	in := varint.Reader{Rest: value[1:]}
	switch key[0] {
	case 'h':
		host := text(&in)
		if !in.Done() || len(host) > HostLabelBytesMax {
			return fmt.Errorf("%w: host %d", ErrState, order)
		}
		l.hosts[host] = host
		l.nextHost = max(l.nextHost, order+1)
	case 'r':
		r := &row{name: name{host: text(&in), method: text(&in), label: text(&in)}, order: order, count: 1}
		if value[0] >= rowVersion {
			r.count = int(min(in.Uvarint(), countMax))
		}
		if value[0] >= rowVersionEdge {
			r.route = string(in.Text(routeBytesMax))
			r.grpc = in.Byte() == 1
		}
		if !in.Done() || r.label == "" || len(r.label) > LabelBytesMax {
			return fmt.Errorf("%w: row %d", ErrState, order)
		}
		l.restoreRow(r)
	case 'c':
		kind := in.Uvarint()
		v := &level{learnt: kind == levelLearnt, host: text(&in), prefix: text(&in), order: order}
		names := map[string]bool{}
		for n := in.Uvarint(); n > 0 && !in.Bad; n-- {
			names[text(&in)] = true
		}
		if v.except = names; kind == levelOnly {
			v.except, v.only = nil, names
		}
		if !in.Done() || kind > levelOnly {
			return fmt.Errorf("%w: level %d", ErrState, order)
		}
		l.restoreLevel(v)
	case 't':
		t := tally{events: in.Uvarint(), next: in.Uvarint(), interval: in.Uvarint()}
		if !in.Done() || t.interval == 0 {
			return fmt.Errorf("%w: tally", ErrState)
		}
		l.tally = t
	default:
		return fmt.Errorf("%w: kind %q", ErrState, key[0])
	}
	return nil
}

func (l *Labeler) restoreRow(r *row) {
	l.nextRow = max(l.nextRow, r.order+1)
	l.key = appendRowKey(l.key[:0], &r.name)
	if l.rows[string(l.key)] != nil {
		return
	}
	r.shown = r.label
	if !r.grpc {
		r.shown = l.Rules().Label(r.host, r.label)
	}
	l.insert(string(l.key), r)
}

func (l *Labeler) restoreLevel(v *level) {
	l.nextLevel = max(l.nextLevel, v.order+1)
	if v.learnt {
		l.levels[levelKey(v.host, v.prefix)] = v
	} else {
		l.likely[levelKey(v.host, v.prefix)] = v
	}
	l.publish()
	l.fold(false) // the level's rows may have been restored before the level
}

func text(in *varint.Reader) string { return string(in.Text(len(in.Rest))) }

func stateKey(kind byte, order uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, order)
}
