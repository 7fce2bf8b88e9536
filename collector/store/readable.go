package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// readableTime bounds how long a damaged store is read for its report: the new one waits for it.
const readableTime = 2 * time.Second

// readable is what can be read of a store that was set aside, for its report.
type readable struct {
	tables, whole int
	damaged       []string // what is wrong with the tables that cannot be read whole
	entries       map[byte]int
	first, last   int64  // hours of rows
	events        uint64 // in blocks
	stopped       bool   // time was up
}

// errTime says that a report has taken long enough.
var errTime = errors.New("time is up")

// readStoreAside reads the tables in a folder, one by one, without Badger, which might not survive them. What is only in a
// log is not counted.
func readStoreAside(dir string) *readable {
	r := &readable{entries: map[byte]int{}, first: 1<<63 - 1, last: -1 << 63}
	names, _ := filepath.Glob(filepath.Join(dir, "*.sst")) // the pattern is a constant
	r.tables = len(names)
	end := time.Now().Add(readableTime) //nolint:forbidigo // a bound on work, not a time of day
	for _, name := range names {
		err := checkTable(name)
		if err == nil {
			err = r.read(name, end)
		}
		switch {
		case errors.Is(err, errTime):
			r.stopped = true
			return r
		case err != nil:
			r.damaged = append(r.damaged, err.Error())
		default:
			r.whole++
		}
	}
	return r
}

// read counts the entries of one table that is whole.
func (r *readable) read(name string, end time.Time) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: table %s: %v", ErrDamaged, filepath.Base(name), cause)
		}
		debug.SetPanicOnFault(old)
	}()
	t, err := openTable(name)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close(-1) }()
	it := t.NewIterator(table.NOCACHE)
	defer func() { _ = it.Close() }()
	const deleted = 1 // Badger's bitDelete
	for it.Rewind(); it.Valid(); it.Next() {
		key, value := y.ParseKey(it.Key()), it.Value()
		if len(key) > 0 && value.Meta&deleted == 0 {
			r.count(key, value.Value)
		}
		if time.Now().After(end) { //nolint:forbidigo // as above
			return errTime
		}
	}
	return nil
}

func (r *readable) count(key, value []byte) {
	r.entries[key[0]]++
	switch {
	case key[0] == prefixRow && len(key) >= 9:
		hour := hourOf(binary.BigEndian.Uint64(key[1:]))
		r.first, r.last = min(r.first, hour), max(r.last, hour)
	case key[0] == prefixBlock && len(value) > blockHeadBytes:
		var meta blockMeta
		if meta.read(&reader{rest: value[blockHeadBytes:]}) {
			r.events += uint64(meta.records) //nolint:gosec // not negative
		}
	}
}

// entryNames say what the entries of a report are, by the first byte of their keys.
var entryNames = map[byte]string{
	prefixRow: "hourly rows", prefixBlock: "event blocks", prefixPlan: "catalogue entries", prefixWatermark: "watermarks",
	prefixLedger: "ledgers of finished epochs", prefixPath: "entries of the path table",
}

// String is the report's paragraph.
func (r *readable) String() string {
	out := fmt.Sprintf("Of %d tables, %d can be read whole; they hold, older versions of an entry included:\n", r.tables, r.whole)
	if r.stopped {
		out = fmt.Sprintf("Of %d tables, the first %d that can be read whole were read, for %v; they hold at least:\n", r.tables, r.whole, readableTime)
	}
	for _, prefix := range slices.Sorted(maps.Keys(entryNames)) {
		line := fmt.Sprintf("  %d %s", r.entries[prefix], entryNames[prefix])
		switch {
		case prefix == prefixRow && r.entries[prefix] > 0:
			line += fmt.Sprintf(", %s to %s", hourText(r.first), hourText(r.last))
		case prefix == prefixBlock:
			line += fmt.Sprintf(" with %d events", r.events)
		}
		out += line + "\n"
	}
	for _, what := range r.damaged[:min(len(r.damaged), 10)] {
		out += "Damaged: " + what + "\n"
	}
	if more := len(r.damaged) - 10; more > 0 {
		out += fmt.Sprintf("Damaged: %d more tables\n", more)
	}
	return strings.TrimSuffix(out, "\n")
}

func hourText(hour int64) string { return time.Unix(hour*3600, 0).UTC().Format("2006-01-02T15:00Z") }
