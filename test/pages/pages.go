// Package pages reads the commands in the documentation, for the tests that run and check them.
package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Block is a block of commands on a page.
type Block struct {
	Line   int    // of the page, from 1
	Text   string // the commands
	Output string // the lines that the page shows below the block; "…" stands for any text
	NotRun string // why TestPages does not run the block: the comment above it
}

var (
	shellFence = regexp.MustCompile("(?s)(?:<!-- not run: ([^\n]+) -->\n)?```sh\n(.*?)\n```\n(?:```text\n(.*?)```)?")
	anyFence   = regexp.MustCompile("(?s)```.*?\n```")
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	repository = regexp.MustCompile(`^\s*(go (test|run) |make |\.ci/|scripts/|#|$)`)
	token      = regexp.MustCompile(`'[^']*'|"[^"]*"|#.*|[|;&()<>]+|[^\s'"|;&()<>#]+`)
)

// All returns the text of each page that has commands, indexed by the page's path relative to the root of the repository; root is the
// folder of the repository.
func All(t testing.TB, root string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "test/README.md", "test/bench/README.md"} {
		names = append(names, filepath.Join(root, name))
	}
	out := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// Blocks returns the blocks of commands on a page. All blocks must have the form that it recognizes.
func Blocks(t testing.TB, page, text string) (out []Block) {
	t.Helper()
	for _, m := range shellFence.FindAllStringSubmatchIndex(text, -1) {
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		out = append(out, Block{Line: 1 + strings.Count(text[:m[4]], "\n"), Text: part(2), Output: part(3), NotRun: part(1)})
	}
	if n := strings.Count(text, "```sh") + strings.Count(text, "```bash") + strings.Count(text, "```console"); n != len(out) {
		t.Errorf("%s has %d blocks of commands, of which %d begin with a line ```sh", page, n, len(out))
	}
	return out
}

// OnlyRepository reports whether all commands of the block are about a clone of the repository, such as make test. Running them would run
// the tests again.
func (b Block) OnlyRepository() bool {
	for line := range strings.Lines(b.Text) {
		if !repository.MatchString(strings.TrimSuffix(line, "\n")) {
			return false
		}
	}
	return true
}

// Commands returns the words of each command on a page, in its blocks and in running text. If a command runs wayside, the first word is
// wayside, whatever name the page uses for the binary. Redirections and pipes are left out.
func Commands(t testing.TB, page, text string) (out [][]string) {
	t.Helper()
	var lines []string
	for _, b := range Blocks(t, page, text) {
		lines = append(lines, strings.Split(strings.ReplaceAll(b.Text, "\\\n", " "), "\n")...)
	}
	for _, span := range codeSpan.FindAllStringSubmatch(anyFence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, strings.ReplaceAll(span[1], "\n", " "))
	}
	for _, line := range lines {
		var words []string
		for _, word := range append(token.FindAllString(line, -1), ";") {
			switch {
			case strings.ContainsAny(word[:1], "|;&()<>#"):
				if len(words) > 0 {
					out = append(out, words)
				}
				words = nil
			case word == "…": // stands for further words
			case strings.HasSuffix(word, "bin/wayside"), word == "./cmd/wayside", word == "wayside" && strings.HasPrefix(line, "sudo "):
				words = []string{"wayside"}
			default:
				words = append(words, strings.Trim(word, `'"`))
			}
		}
	}
	return out
}
