package wayside

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRatiosOfTheReadme: in README's table of measurements each ratio is that of the figures beside it, to the last digit that is shown.
func TestRatiosOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	number := func(text []byte) float64 {
		n, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([0-9.]+) µs \| ([0-9.]+) \|`).FindAllSubmatch(text, -1)
	one := -1.0 // µs of the row that the others are compared with
	for _, row := range rows {
		if string(row[3]) == "1.00" {
			one = number(row[2])
		}
	}
	if len(rows) < 4 || one < 0 {
		t.Fatalf("%d rows, of which one is to be 1.00", len(rows))
	}
	for _, row := range rows {
		if is, says := number(row[2])/one, number(row[3]); math.Abs(is-says) > 0.0051 {
			t.Errorf("%s: %.3f, and the table says %.2f", row[1], is, says)
		}
	}
}

var (
	markdownLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	markdownHeading = regexp.MustCompile("(?m)^#+ (.*)$")
	markdownFence   = regexp.MustCompile("(?s)```.*?\n```")
	notInAnchors    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(text string) (out []string) {
	for _, heading := range markdownHeading.FindAllStringSubmatch(markdownFence.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.ReplaceAll(strings.ToLower(notInAnchors.ReplaceAllString(heading[1], "")), " ", "-"))
	}
	return out
}

// TestLinksOfThePages: each link from a page to a file of this repository leads to a file, and to a heading if it names one. The list in
// docs/README.md has every page in docs.
func TestLinksOfThePages(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "docs/evidence/*.md", "test/*.md", "test/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, names...)
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, page := range pages {
		for _, link := range markdownLink.FindAllStringSubmatch(markdownFence.ReplaceAllString(read(page), ""), -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, ":") {
				continue // to another server
			}
			file := filepath.Join(filepath.Dir(page), target)
			if target == "" {
				file = page
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s: %v", page, link[1], err)
			} else if anchor != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(read(file)), anchor) {
				t.Errorf("%s: there is no heading for %s", page, link[1])
			}
		}
	}
	for _, page := range pages {
		name, isDoc := strings.CutPrefix(page, "docs/")
		if isDoc && !strings.ContainsRune(name, '/') && name != "README.md" && !strings.Contains(read("docs/README.md"), "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", page)
		}
	}
}
