// Package verify defines how the parts of wayside report the results of checking their own promises.
package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// problemsMax is the maximum number of problems that a check describes. All problems are counted.
const problemsMax = 20

// Check is one promise and the result of checking it.
type Check struct {
	Name     string   `json:"name"`
	Checked  uint64   `json:"checked"`            // number of things that were checked
	Of       string   `json:"of"`                 // what these things are, in the plural
	Problems []string `json:"problems,omitempty"` // at most 20
	Found    uint64   `json:"found"`              // number of all problems
	Skipped  string   `json:"skipped,omitempty"`  // why something was deliberately not checked; not a success
	Unmade   []string `json:"unmade,omitempty"`   // why something could not be checked; at most 20
	NotMade  uint64   `json:"not_made,omitempty"` // number of all things that could not be checked
	Losses   uint64   `json:"losses,omitempty"`   // number of reports of losses, which are not a current problem
}

// Problem records that the promise is not kept.
func (c *Check) Problem(format string, args ...any) {
	c.Found++
	if len(c.Problems) < problemsMax {
		c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
	}
}

// CannotMake records that something could not be checked, so it is unknown whether the promise is kept.
func (c *Check) CannotMake(format string, args ...any) {
	c.NotMade++
	if len(c.Unmade) < problemsMax {
		c.Unmade = append(c.Unmade, fmt.Sprintf(format, args...))
	}
}

// Report is the result of a whole verification.
type Report struct {
	Mode   string   `json:"mode"` // "online" if a running wayside did the verification, else "offline"
	Checks []*Check `json:"checks"`
	OK     bool     `json:"ok"` // whether everything has been checked and every promise is kept
}

// Add appends checks and updates OK.
func (r *Report) Add(checks ...*Check) {
	r.Checks = append(r.Checks, checks...)
	r.OK = true
	for _, c := range r.Checks {
		r.OK = r.OK && c.Found == 0 && c.NotMade == 0
	}
}

// Found reports whether any check has found a problem. If both Found and [Report.OK] are false, something could not be checked.
func (r *Report) Found() bool {
	for _, c := range r.Checks {
		if c.Found > 0 {
			return true
		}
	}
	return false
}

// Quarantine counts the entries of the quarantine folder at, and the reports of losses in it. They are not a current problem, but someone
// should look at them.
func Quarantine(at string) *Check {
	c := &Check{Name: "quarantine", Of: "entries"}
	entries, err := os.ReadDir(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.CannotMake("%v", err)
	}
	for _, e := range entries {
		if name, report := strings.CutSuffix(e.Name(), ".txt"); report {
			if _, err := os.Lstat(filepath.Join(at, name)); err == nil {
				continue // the report belongs to that entry
			}
			c.Losses++
		}
		c.Checked++
	}
	if c.Checked > 0 {
		c.Skipped = fmt.Sprintf("entries that were set aside earlier are not checked: see %s", at)
	}
	if c.Losses > 0 {
		c.Skipped += fmt.Sprintf("; %d are reports of losses", c.Losses)
	}
	return c
}
