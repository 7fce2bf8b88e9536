// Package query parses query strings and request bodies strictly, for every endpoint of the admin API. The command line uses some of its
// parsers.
//
// [net/url.ParseQuery] ignores parts that it cannot parse, and its callers ignore misspelled names. The response would then not be what the
// client requested. Here, everything that cannot be parsed is an error with its position.
package query

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Values are the parameters of a query string by name.
type Values map[string]string

// Parse parses the query string of a request, without the "?". known lists the names that the endpoint accepts.
//
// The error messages are meant for the client: they say what is wrong, at which position, and what is allowed.
func Parse(raw string, known ...string) (Values, error) {
	values := Values{}
	for at := 0; at <= len(raw); {
		pair, _, _ := strings.Cut(raw[at:], "&")
		if pair != "" {
			if err := values.add(pair, at, known); err != nil {
				return nil, err
			}
		}
		at += len(pair) + 1
	}
	return values, nil
}

// Flag parses a parameter that must be true or false. It returns false if the parameter is absent.
func (v Values) Flag(name string) (bool, error) {
	switch v[name] {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, fmt.Errorf("%s=%q must be true or false", name, v[name])
}

// add parses one "name=value", which begins at byte at of the query string.
func (v Values) add(pair string, at int, known []string) error {
	if i := strings.IndexByte(pair, ';'); i >= 0 {
		return fmt.Errorf(`";" at character %d of the query string: separate parameters by "&", and write a ";" in a value as "%%3B"`, at+i+1)
	}
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err := unescape(rawName, at)
	if err != nil {
		return err
	}
	value, err := unescape(rawValue, at+len(rawName)+1)
	if err != nil {
		return err
	}
	if !slices.Contains(known, name) {
		return unknown(name, known)
	}
	if _, twice := v[name]; twice {
		return fmt.Errorf("parameter %q is given more than once", name)
	}
	v[name] = value
	return nil
}

// unescape decodes percent-encoding, and "+" as a space. text begins at byte at of the query string.
func unescape(text string, at int) (string, error) {
	out, err := url.QueryUnescape(text)
	var bad url.EscapeError
	if errors.As(err, &bad) {
		place := strings.Index(text, string(bad))
		if len(bad) < len("%00") { // truncated by the end of text
			place = len(text) - len(bad)
		}
		return "", fmt.Errorf(`%q at character %d of the query string is not an escape sequence: write a "%%" as "%%25"`, string(bad), at+place+1)
	}
	if err == nil && !utf8.ValidString(out) {
		return "", fmt.Errorf("the text at character %d of the query string is not UTF-8", at+1)
	}
	return out, err
}

func unknown(name string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("unknown parameter %q: this endpoint takes no parameters", name)
	}
	hint := ""
	if like := Nearest(strings.ToLower(name), known); like != "" {
		hint = fmt.Sprintf("did you mean %q? ", like)
	}
	return fmt.Errorf("unknown parameter %q: %sknown: %s", name, hint, strings.Join(known, ", "))
}

// CheckPath returns an error for a text that cannot be a path or a template. Paths and templates begin with a slash, except "*" and names
// in parentheses, such as "(other)". An empty text is accepted: it means any path.
func CheckPath(path string) error {
	if path == "" || path == "*" || path[0] == '/' || path[0] == '(' {
		return nil
	}
	return errors.New("paths begin with /")
}

// Nearest returns the known word that the user most likely meant by a mistyped word, or "" if no known word is similar.
func Nearest(word string, known []string) string {
	const (
		wordBytesMax = 64 // no known word is that long
		shortWord    = 4
	)
	if len(word) > wordBytesMax {
		return ""
	}
	changesMax := max(2, len(word)/4)
	if len(word) <= shortWord {
		changesMax = 1 // two changes could turn it into a different word, such as nope into top
	}
	best, least := "", changesMax+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := distance(word, k)
		if word != "" && strings.HasPrefix(k, word) { // an abbreviation, such as archive.access_key for archive.access_key_file
			d = 1
		} else if d == 2 && sameLetters(word, k) { // two letters in the wrong order, such as form for from
			d = 1
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// sameLetters reports whether a and b have the same bytes in any order.
func sameLetters(a, b string) bool {
	return slices.Equal(slices.Sorted(slices.Values([]byte(a))), slices.Sorted(slices.Values([]byte(b))))
}

// distance returns the number of bytes that must be inserted, removed or replaced to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
