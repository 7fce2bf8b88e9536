package query

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusForms describes the lists that [ParseStatuses] accepts, for error messages and help texts.
const StatusForms = "codes from 100 to 999 (404), classes from 1xx to 5xx, and ranges (500-504), separated by commas"

// statusEnd is the first number after the status codes.
const statusEnd = 1000

// Statuses is a set of status codes. A nil set contains all codes.
type Statuses [statusEnd]bool

// ParseStatuses parses a list of status codes in the forms of [StatusForms]. For an empty text, it returns nil. The error message lists
// the forms.
func ParseStatuses(text string) (*Statuses, error) {
	if text == "" {
		return nil, nil // the set of all codes
	}
	set := new(Statuses)
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := parseStatus(strings.TrimSpace(part))
		if !ok {
			return nil, fmt.Errorf("%q is not a status: use %s", part, StatusForms)
		}
		for code := from; code <= to; code++ {
			set[code] = true
		}
	}
	return set, nil
}

func parseStatus(text string) (from, to int, ok bool) {
	if class, found := strings.CutSuffix(strings.ToLower(text), "xx"); found {
		ok = len(class) == 1 && class[0] >= '1' && class[0] <= '5'
		if ok {
			from = int(class[0]-'0') * 100
		}
		return from, from + 99, ok
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, ok = code(first)
	to, ok2 := code(last)
	return from, to, ok && ok2 && from <= to
}

// code parses three digits.
func code(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && len(text) == 3 && n >= 100
}

// Has reports whether a code is in the set.
func (s *Statuses) Has(code int) bool { return s == nil || code >= 0 && code < statusEnd && s[code] }
