package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// A damaged store is read through a view: a folder with links to its tables, with those that are damaged in part written
// anew without the damaged blocks, and with copies of its logs up to the first damage. What may be missing from the view is
// known as ranges of keys. A key outside of them is in the view as it was in the store: every table that could hold a newer
// version of it, or its deletion, was read there without an error.

// keyRange is a range of keys in which anything may be missing: from its first key on, up to but not including its end. An
// empty end is behind every key.
type keyRange struct{ from, to []byte }

// lostKeys are the ranges of a damaged store.
type lostKeys []keyRange

// everything is what is lost when nothing is known of a table.
var everything = keyRange{}

// has reports whether a key, or its newest version, may be lost.
func (l lostKeys) has(key []byte) bool {
	return slices.ContainsFunc(l, func(r keyRange) bool {
		return bytes.Compare(r.from, key) <= 0 && (len(r.to) == 0 || bytes.Compare(key, r.to) < 0)
	})
}

// touches reports whether any key with a prefix may be lost.
func (l lostKeys) touches(prefix []byte) bool {
	end := behind(prefix)
	return slices.ContainsFunc(l, func(r keyRange) bool {
		return (len(r.to) == 0 || bytes.Compare(prefix, r.to) < 0) && (end == nil || bytes.Compare(r.from, end) < 0)
	})
}

func (l lostKeys) everything() bool {
	return slices.ContainsFunc(l, func(r keyRange) bool { return len(r.from) == 0 && len(r.to) == 0 })
}

// behind is the first key behind all that have a prefix; nil if there is none.
func behind(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// successor is the first key after another.
func successor(key []byte) []byte { return append(bytes.Clone(key), 0) }

// viewBuilder makes the folder of a view.
type viewBuilder struct {
	to     string
	next   uint64 // number of the table that was added last
	lost   lostKeys
	levels map[uint64]uint8       // of the tables that are in the view
	spans  map[uint8][]keyRange   // by level: what they cover, both ends included
	gone   map[uint8]int          // by level: tables that cannot be read at all
	seen   map[string]os.FileInfo // tables by name, to tell links of one file
	report []string               // what is wrong, one line each
}

// buildView fills a folder with what can be read of a store's, whose tables may also lie in a second one, and returns which
// keys may be missing. It changes nothing in either.
func buildView(to, dir, unlisted string) (lostKeys, []string, error) {
	b := &viewBuilder{to: to, levels: map[uint64]uint8{}, spans: map[uint8][]keyRange{}, gone: map[uint8]int{}, seen: map[string]os.FileInfo{}}
	if err := os.MkdirAll(to, 0o750); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for name, level := range b.tables(dir, unlisted) {
		if err := b.addTable(name, level); err != nil {
			return nil, nil, err
		}
	}
	b.closeGaps()
	if err := b.writeManifest(); err != nil {
		return nil, nil, err
	}
	return b.lost, b.report, b.copyLogs(dir)
}

// tables lists the files to read, with their levels. The MANIFEST says which they are, if it can be read and there are no
// others: one that was cut off forgets tables, and lists some that are no more. Then all files are taken, as tables of level 0,
// which may overlap; a file of a compaction that was broken off holds nothing else than the tables that it was made from.
func (b *viewBuilder) tables(dir, unlisted string) map[string]uint8 {
	listed, err := readManifest(dir)
	out := map[string]uint8{}
	for id, t := range listed {
		out[table.NewFilename(id, dir)] = t.Level
	}
	others := map[string]uint8{}
	for _, folder := range []string{dir, unlisted} {
		names, _ := filepath.Glob(filepath.Join(folder, "*.sst")) // the pattern is a constant
		for _, name := range names {
			if _, known := out[name]; !known {
				others[name] = 0
			}
		}
	}
	if err == nil && len(others) == 0 {
		return out
	}
	if err != nil {
		b.report = append(b.report, err.Error())
	} else {
		b.report = append(b.report, fmt.Sprintf("the MANIFEST does not list %d tables", len(others)))
	}
	for name := range out {
		others[name] = 0
	}
	return others
}

func readManifest(dir string) (map[uint64]badger.TableManifest, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	defer func() { _ = f.Close() }()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, fmt.Errorf("the MANIFEST cannot be read: %w", err)
	}
	return manifest.Tables, nil
}

// addTable puts a table into the view: linked if it is whole, else what can be read of it.
func (b *viewBuilder) addTable(name string, level uint8) error {
	if _, ok := table.ParseFileID(filepath.Base(name)); !ok {
		return nil
	}
	info, err := os.Stat(name)
	if err == nil && os.SameFile(info, b.seen[filepath.Base(name)]) {
		return nil // the same table, linked into the second folder
	}
	b.seen[filepath.Base(name)] = info
	// Numbered anew: Badger gives a number again that a table had which its MANIFEST does not list.
	b.next++
	id, to := b.next, table.NewFilename(b.next, b.to)
	err = checkTable(name)
	if err == nil {
		span, spanErr := spanOf(name)
		if err = spanErr; err == nil {
			if linkErr := os.Link(name, to); linkErr != nil {
				if err := copySparse(to, name); err != nil {
					return fmt.Errorf("%w: view of a table: %w", ErrUnavailable, err)
				}
			}
			b.levels[id] = level
			b.spans[level] = append(b.spans[level], span)
			return nil
		}
	}
	b.report = append(b.report, err.Error())
	part, err := readPart(name, to)
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if err != nil {
		b.gone[level]++
		return nil //nolint:nilerr // the table cannot be read at all, which is noted
	}
	b.lost = append(b.lost, part.lost...)
	b.spans[level] = append(b.spans[level], part.span)
	if !part.empty {
		b.levels[id] = level
	}
	return nil
}

// closeGaps notes what tables that cannot be read at all may have held. Tables of a level above 0 do not overlap, so it is
// what the level's other tables do not cover. One of level 0 may have held anything.
func (b *viewBuilder) closeGaps() {
	for level := range b.gone {
		if level == 0 {
			b.lost = append(b.lost, everything)
			continue
		}
		spans := b.spans[level]
		slices.SortFunc(spans, func(x, y keyRange) int { return bytes.Compare(x.from, y.from) })
		from := []byte(nil)
		for _, span := range spans {
			b.lost = append(b.lost, keyRange{from: from, to: span.from})
			from = successor(span.to)
		}
		b.lost = append(b.lost, keyRange{from: from})
	}
}

// writeManifest writes Badger's list of tables: magic number and version, then one checked set of changes.
func (b *viewBuilder) writeManifest() error {
	var body []byte
	for id, level := range b.levels {
		// A message in a message of Protocol Buffers: field 1 is the table's number, 3 its level; it was created (2) with 0.
		change := binary.AppendUvarint([]byte{1 << 3}, id)
		change = append(change, 3<<3, level)
		body = append(body, 1<<3|2, byte(len(change)))
		body = append(body, change...)
	}
	out := append([]byte("Bdgr"), 0, 0, 0, 8)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body))) //nolint:gosec // far below
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(body, castagnoli))
	if err := os.WriteFile(filepath.Join(b.to, badger.ManifestFilename), append(out, body...), 0o640); err != nil { //nolint:gosec // as the store's
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// copyLogs copies the logs of Badger's memtables, the oldest first, up to the first that is damaged: Badger cuts that one off
// at the damage, and what comes later may build on what is missing. The view is then the store as of that moment.
func (b *viewBuilder) copyLogs(dir string) error {
	for _, name := range logFiles(dir) {
		body, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		end, whole := logEnd(body)
		if !whole {
			b.report = append(b.report, fmt.Sprintf("log %s is damaged behind byte %d", filepath.Base(name), end))
		}
		if end > logHeadBytes {
			if err := copySparse(filepath.Join(b.to, filepath.Base(name)), name); err != nil {
				return fmt.Errorf("%w: view of a log: %w", ErrUnavailable, err)
			}
		}
		if !whole {
			return nil
		}
	}
	return nil
}

// logHeadBytes is what stands before the first entry of a log: number of a key (none here), and a nonce.
const logHeadBytes = 20

// logEnd walks the entries of a log and returns where they end, and whether nothing but zeros follows.
func logEnd(body []byte) (end int, whole bool) {
	zeros := func(from int) bool { return len(bytes.TrimLeft(body[min(from, len(body)):], "\x00")) == 0 }
	if len(body) < logHeadBytes || !bytes.Equal(body[:8], make([]byte, 8)) {
		return 0, zeros(0)
	}
	for end = logHeadBytes; ; {
		in := reader{rest: body[end:]}
		in.bytes(2) // meta
		key, value := in.uvarint(), in.uvarint()
		in.uvarint() // expires
		if in.bad || key == 0 || key > uint64(len(in.rest)) || value > uint64(len(in.rest)) {
			return end, zeros(end)
		}
		in.bytes(int(key + value)) //nolint:gosec // bounded above
		size := len(body) - end - len(in.rest)
		sum := in.bytes(4)
		if in.bad || binary.BigEndian.Uint32(sum) != crc32.Checksum(body[end:end+size], castagnoli) {
			return end, zeros(end)
		}
		end += size + 4
	}
}

// spanOf returns the first and last key of a table.
func spanOf(name string) (span keyRange, err error) {
	err = withTable(name, func(t *table.Table) error {
		span = keyRange{from: bytes.Clone(y.ParseKey(t.Smallest())), to: bytes.Clone(y.ParseKey(t.Biggest()))}
		return nil
	})
	return span, err
}

func withTable(name string, fn func(*table.Table) error) error {
	t, err := openTable(name)
	if err != nil {
		return err
	}
	return errors.Join(fn(t), t.Close(-1))
}

// tablePart is what could be read of a damaged table.
type tablePart struct {
	span  keyRange
	lost  lostKeys
	empty bool
}

// readPart writes a new table of the blocks of a damaged one that match their checksums. Where each block begins stands in the
// table's index, which has a checksum of its own: without it, and without the last block, Badger does not open the table.
func readPart(from, to string) (part tablePart, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: table %s: %v", ErrDamaged, filepath.Base(from), cause)
		}
	}()
	builder := table.NewTableBuilder(table.Options{BlockSize: 4 << 10, TableSize: 4 << 20, BloomFalsePositive: 0.01})
	defer builder.Close()
	err = withTable(from, func(t *table.Table) error {
		part.span = keyRange{from: bytes.Clone(y.ParseKey(t.Smallest())), to: bytes.Clone(y.ParseKey(t.Biggest()))}
		starts := t.KeySplits(1<<30, nil) // of every block
		for i, start := range starts {
			end := ""
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			if readBlock(t, start, end, builder) {
				continue
			}
			lost := keyRange{from: y.ParseKey([]byte(start)), to: successor(part.span.to)}
			if end != "" {
				lost.to = successor(y.ParseKey([]byte(end)))
			}
			part.lost = append(part.lost, lost)
		}
		return nil
	})
	if err != nil {
		return part, err
	}
	if part.empty = builder.Empty(); part.empty {
		return part, nil
	}
	made, err := table.CreateTable(to, builder)
	if err != nil {
		return part, fmt.Errorf("%w: write a table: %w", ErrUnavailable, err)
	}
	return part, made.Close(-1)
}

// readBlock adds the entries of one block to a table and reports whether it could be read.
func readBlock(t *table.Table, start, end string, builder *table.Builder) bool {
	it := t.NewIterator(table.NOCACHE)
	defer func() { _ = it.Close() }()
	it.Seek([]byte(start))
	if !it.Valid() || string(it.Key()) != start {
		return false // a block that fails its checksum is passed over
	}
	for ; it.Valid() && (end == "" || y.CompareKeys(it.Key(), []byte(end)) < 0); it.Next() {
		builder.Add(bytes.Clone(it.Key()), it.Value(), 0)
	}
	return true
}
