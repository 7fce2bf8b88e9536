// Package query reads query strings strictly: one set of rules for every endpoint of the admin API, and the parsers that the API
// shares with the command line.
//
// [net/url.ParseQuery] drops what it cannot read, and takes a misspelt name for one that nobody uses. An answer would then be
// to another question than the one that was asked. Here everything that cannot be read is an error that names the place.
package query

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Values are the parameters of a query string by their names. Each was given once.
type Values map[string]string

// Parse reads a query string as it stands in a request, without its "?". known are the names that the endpoint takes.
//
// Errors are for the client: they say what is wrong at which place, and what is allowed.
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

// Flag reads a parameter that is true or false; false where it is not given.
func (v Values) Flag(name string) (bool, error) {
	switch v[name] {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, fmt.Errorf("%s=%q must be true or false", name, v[name])
}

// add enters one "name=value" that begins at a byte of the query string.
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

// unescape undoes percent-encoding, and takes "+" for a blank. text begins at a byte of the query string.
func unescape(text string, at int) (string, error) {
	out, err := url.QueryUnescape(text)
	var bad url.EscapeError
	if errors.As(err, &bad) {
		place := strings.Index(text, string(bad))
		if len(bad) < len("%00") { // cut off by the end
			place = len(text) - len(bad)
		}
		return "", fmt.Errorf(`%q at character %d of the query string is not an escape: write a "%%" as "%%25"`, string(bad), at+place+1)
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

// CheckPath refuses what no path and no template is: all begin with a slash, but for "*" and the names that stand for others, such as
// "(other)". An empty one is accepted: it means any.
func CheckPath(path string) error {
	if path == "" || path == "*" || path[0] == '/' || path[0] == '(' {
		return nil
	}
	return errors.New("paths begin with /")
}

// Nearest returns the known word that a mistyped one is most likely meant to be, or nothing if none is near.
func Nearest(word string, known []string) string {
	const (
		wordBytesMax = 64 // no known word is as long; what is longer costs time only
		shortWord    = 4
	)
	if len(word) > wordBytesMax {
		return ""
	}
	most := max(2, len(word)/4)
	if len(word) <= shortWord {
		most = 1 // with two letters changed, half of it is another word: nope is no top
	}
	best, least := "", most+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		d := distance(word, k)
		if word != "" && strings.HasPrefix(k, word) { // a word cut short: archive.access_key for archive.access_key_file
			d = 1
		} else if d == 2 && sameLetters(word, k) { // two of them in the wrong order: form for from
			d = 1
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// sameLetters reports whether a and b have the same bytes, in whatever order.
func sameLetters(a, b string) bool {
	return slices.Equal(slices.Sorted(slices.Values([]byte(a))), slices.Sorted(slices.Values([]byte(b))))
}

// distance is the least number of bytes to insert, remove or replace that makes b of a.
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
