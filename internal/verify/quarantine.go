package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Quarantine counts what was set aside in the folder at, and the reports of losses: nothing that is wrong now, but something to look at.
func Quarantine(at string) *Check {
	c := &Check{Name: "quarantine", Of: "entries"}
	entries, err := os.ReadDir(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.CannotMake("%v", err)
	}
	losses := 0
	for _, e := range entries {
		if name, report := strings.CutSuffix(e.Name(), ".txt"); report {
			if _, err := os.Lstat(filepath.Join(at, name)); err == nil {
				continue // of what stands beside it
			}
			losses++
		}
		c.Checked++
	}
	if c.Checked > 0 {
		c.Skipped = fmt.Sprintf("what was set aside earlier is not checked: see %s", at)
	}
	if losses > 0 {
		c.Skipped += fmt.Sprintf("; %d are reports of what was lost", losses)
	}
	return c
}
