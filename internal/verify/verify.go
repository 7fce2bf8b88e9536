// Package verify holds the form in which the parts of wayside report what they found when they checked their own promises.
package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// problemsMax bounds the problems that a check describes; the rest are counted.
const problemsMax = 20

// Check is one promise and what was found.
type Check struct {
	Name     string   `json:"name"`
	Checked  uint64   `json:"checked"`            // how many things were looked at
	Of       string   `json:"of"`                 // what they are, in the plural
	Problems []string `json:"problems,omitempty"` // at most 20
	Found    uint64   `json:"found"`              // problems, those not described included
	Skipped  string   `json:"skipped,omitempty"`  // why it was not to be made; never a pass
	Unmade   []string `json:"unmade,omitempty"`   // why things that were to be checked could not be; at most 20
	NotMade  uint64   `json:"not_made,omitempty"` // how many they are, those not described included
}

// Problem notes something that is not as promised.
func (c *Check) Problem(format string, args ...any) {
	c.Found++
	if len(c.Problems) < problemsMax {
		c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
	}
}

// CannotMake notes that something could not be checked: it may be as promised, or not.
func (c *Check) CannotMake(format string, args ...any) {
	c.NotMade++
	if len(c.Unmade) < problemsMax {
		c.Unmade = append(c.Unmade, fmt.Sprintf(format, args...))
	}
}

// Report is what a whole verification came to.
type Report struct {
	Mode   string   `json:"mode"` // "offline", or "online" for the answer of a running wayside
	Checks []*Check `json:"checks"`
	OK     bool     `json:"ok"` // everything was checked, and is as promised
}

// Add appends checks, and brings OK up to date.
func (r *Report) Add(checks ...*Check) {
	r.Checks = append(r.Checks, checks...)
	r.OK = true
	for _, c := range r.Checks {
		r.OK = r.OK && c.Found == 0 && c.NotMade == 0
	}
}

// Found reports whether anything is not as promised; where [Report.OK] is false without it, something could not be checked.
func (r *Report) Found() bool {
	for _, c := range r.Checks {
		if c.Found > 0 {
			return true
		}
	}
	return false
}

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
