package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
)

// crashesMax is the number of crashes during opening after which a store is set aside.
const crashesMax = 2

// crashTextMax limits the length of the crash text in the report.
const crashTextMax = 8 << 10

// opening is the marker file <Dir>.opening. Its first line says how many times opening has crashed already. The Go runtime appends the
// text of a fatal panic or fault. This is necessary because Badger may panic in its own goroutines, in which wayside cannot recover the
// panic.
//
// After a SIGKILL or a power loss, there is a marker without crash text, which says nothing about the state of the store.
type opening struct {
	name    string
	crashes int
	text    string // text of the last crash
}

const openingHead = "crashes while opening: "

// beginOpening reads the marker of an earlier attempt and writes one for this attempt.
func beginOpening(dir string) (*opening, error) {
	o := &opening{name: dir + ".opening"}
	body, err := os.ReadFile(o.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	head, text, _ := strings.Cut(string(body), "\n")
	if n, ok := strings.CutPrefix(head, openingHead); ok {
		if _, err := fmt.Sscanf(n, "%d", &o.crashes); err != nil {
			o.crashes = 0
		}
	}
	if text = strings.TrimSpace(text); text != "" {
		o.crashes++
		o.text = text[:min(len(text), crashTextMax)]
	}
	head = fmt.Sprintf("%s%d\n", openingHead, o.crashes)
	if err := writeFileSynced(o.name, []byte(head)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(o.name, os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	err = debug.SetCrashOutput(f, debug.CrashOptions{})
	return o, errors.Join(err, f.Close()) // the runtime has its own descriptor
}

// end removes the marker after an attempt, whether or not the attempt was successful.
func (o *opening) end() error {
	return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), os.Remove(o.name))
}
