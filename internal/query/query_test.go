package query

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]string{
		"":                        "map[]",
		"&&":                      "map[]",
		"path=/50%25-off&limit=2": "map[limit:2 path:/50%-off]",
		"path=a+b%2Bc=d":          "map[path:a b+c=d]",
		"path":                    "map[path:]",
		"%70ath=%3B":              "map[path:;]",
		"path=%C3%BC":             "map[path:ü]",
	} {
		got, err := Parse(raw, "path", "limit", "from")
		if err != nil || fmt.Sprint(map[string]string(got)) != want {
			t.Errorf("%s: %v, %v, want %s", raw, got, err, want)
		}
	}
}

// TestNothingIsIgnored: everything that cannot be parsed is an error with its position or name.
func TestNothingIsIgnored(t *testing.T) {
	for raw, want := range map[string]string{
		"path=/50%-off":          `"%-o" at character 9 `,
		"limit=1&path=/50%":      `"%" at character 17 `,
		"path=%25%2":             `"%2" at character 9 `,
		"limit=1&pa%zzth=1":      `"%zz" at character 11 `,
		"path=/a;b":              `";" at character 8 `,
		"limit=1;path=/a":        `";" at character 8 `,
		"path=%ff":               "character 6 of the query string is not UTF-8",
		"form=-1h":               `did you mean "from"?`,
		"LIMIT=1":                `did you mean "limit"?`,
		"limit=1&color=red":      `unknown parameter "color": known: path, limit, from`,
		"=1":                     `unknown parameter ""`,
		"limit=1&limit=1":        `"limit" is given more than once`,
		"limit=1&&%6Cimit=2":     `"limit" is given more than once`,
		"path=&path=":            `"path" is given more than once`,
		strings.Repeat("x", 1e5): "unknown parameter",
	} {
		got, err := Parse(raw, "path", "limit", "from")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, %v, want an error with %s", raw, got, err, want)
		}
	}
	if _, err := Parse("x=1"); err == nil || !strings.Contains(err.Error(), "takes no parameters") {
		t.Error(err)
	}
}

func TestParseStatuses(t *testing.T) {
	for text, want := range map[string][]int{
		"404": {404}, "4xx,5XX": {400, 499, 500, 599}, " 200 , 500-504": {200, 500, 504}, "999": {999}, "1xx": {100, 199}, "404-404": {404},
	} {
		set, err := ParseStatuses(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, code := range want {
			if !set.Has(code) {
				t.Errorf("%s does not have %d", text, code)
			}
		}
		if set.Has(300) || set.Has(99) || set.Has(1000) || set.Has(-1) || set.Has(65535) {
			t.Errorf("%s has too many", text)
		}
	}
	for _, text := range []string{
		"9xx", "6xx", "0xx", "xx", "x", "abc", "4x", "40", "4040", "099", "1000", "404,", ",404", "504-500", "500-", "-500", "5xx-6xx", "+404", "4 04", "٤٠٤", "404.0",
	} {
		if set, err := ParseStatuses(text); err == nil || set != nil || !strings.Contains(err.Error(), StatusForms) {
			t.Errorf("%q was taken: %v", text, err)
		}
	}
	if all, err := ParseStatuses(""); err != nil || all != nil || !all.Has(200) {
		t.Errorf("an empty list does not have all codes: %v", err)
	}
}

// TestNearest: a suggestion must be similar to the word, not just have the same length.
func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"form": "from", "limt": "limit", "dryrun": "dry_run", "tpo": "top", "t": "top", "archve": "archive", "nope": "", "tcsh": "", "x": "", "bush": "bash",
	} {
		if got := Nearest(word, []string{"from", "limit", "dry_run", "top", "archive", "bash", "zsh"}); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
