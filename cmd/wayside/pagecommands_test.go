package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/pages"
)

var (
	groupUsage   = regexp.MustCompile(`(?m)^  (wayside.*) \[command\]$`)
	yamlFence    = regexp.MustCompile("(?s)```yaml\n(.*?\n)```")
	upstreamKey  = regexp.MustCompile(`(?m)^(upstream|upstreams|routes|scrape_configs):`)
	fileKey      = regexp.MustCompile(`((?:cert|key|ca|auth|body)_file: )([a-z])`)
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
)

// TestCommandsOnPages checks every command in the documentation, in blocks and in running text, without running it: the command line must
// know each command of wayside and its flags, and what a command of the repository names must exist.
func TestCommandsOnPages(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "Makefile")
	seen := map[string]bool{}
	for page, text := range pages.All(t, "../..") {
		for _, words := range pages.Commands(t, page, text) {
			command := strings.Join(words, " ")
			if seen[command] {
				continue
			}
			seen[command] = true
			wrong := ""
			switch {
			case words[0] == "wayside":
				wrong = unknownUsage(words[1:])
			case words[0] == "make":
				wrong = missingTarget(makefile, words[1:])
			case len(words) > 2 && words[0] == "go" && words[1] == "run":
				wrong = missingProgram(t, words[2:])
			case len(words) > 2 && words[0] == "go" && words[1] == "test":
				wrong = missingTests(t, words[2:])
			case strings.HasPrefix(words[0], "scripts/") || strings.HasPrefix(words[0], ".ci/"):
				if _, err := os.Stat("../../" + words[0]); err != nil {
					wrong = err.Error()
				}
			default:
				delete(seen, command)
			}
			if wrong != "" {
				t.Errorf("%s: %s: %s", page, command, wrong)
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d commands were found: %v", len(seen), seen)
	}
}

// TestYAMLOnPages checks the configurations in the documentation, with files in place of those that they name. Excerpts without an
// upstream get one.
func TestYAMLOnPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certtest.NewCA(t, "pages")
	for _, name := range []string{"example.org", "shops", "site", "other", "a", "edge"} {
		ca.Issue(t, certtest.Leaf{Names: []string{name + ".example"}, Client: name == "edge", For: 30 * 24 * time.Hour}).Write(t, dir, name)
	}
	for _, name := range []string{"clients.pem", "internal.pem", "collector-ca.pem"} {
		certtest.WriteFile(t, filepath.Join(dir, name), ca.PEM())
	}
	certtest.WriteFile(t, filepath.Join(dir, "users.htpasswd"), []byte("ops:$2a$10$dcZgWsr2jqVCeTm8j/dKxOLiYm6WKWC1.qiYMqvxYC4BvcxXRNXbK\n"))
	certtest.WriteFile(t, filepath.Join(dir, "closed.html"), []byte("<p>The shop is closed.</p>"))
	certtest.WriteFile(t, filepath.Join(dir, "otlp-headers"), []byte("Authorization: Bearer a\n"))
	file, checked := filepath.Join(dir, "page.yaml"), 0
	for page, text := range pages.All(t, "../..") {
		for _, block := range yamlFence.FindAllStringSubmatch(text, -1) {
			yaml := fileKey.ReplaceAllString(strings.ReplaceAll(block[1], "/etc/wayside/", dir+"/"), "${1}"+dir+"/${2}")
			if key := upstreamKey.FindStringSubmatch(yaml); key == nil {
				yaml += "upstream: http://127.0.0.1:3000\n"
			} else if key[1] == "scrape_configs" {
				continue // for Prometheus
			}
			certtest.WriteFile(t, file, []byte(yaml))
			var out, errs bytes.Buffer
			if code := Main([]string{"config", "check", file}, &out, &errs); code != exitOK || out.String()+errs.String() != "ok\n" {
				t.Errorf("%s: exit code %d: %s%s\n%s", page, code, &out, &errs, yaml)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("only %d configurations were found", checked)
	}
}

// unknownUsage parses the flags of a command, which does nothing else because of --help.
func unknownUsage(args []string) string {
	at := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if at < 0 {
		at = len(args)
	}
	var out, errs bytes.Buffer
	if code := Main(slices.Insert(slices.Clone(args), at, "--help"), &out, &errs); code != exitOK {
		return errs.String()
	}
	_, usage, _ := strings.Cut(out.String(), "Usage:\n")
	usage, _, _ = strings.Cut(usage, "\n\n")
	group := groupUsage.FindStringSubmatch(usage) // help is about a group of commands if the next word is none of them
	if rest := args[:at]; group != nil && len(rest) > strings.Count(group[1], " ") {
		if word := rest[strings.Count(group[1], " ")]; !regexp.MustCompile(`[ |]` + word + `[ |]`).MatchString(usage) {
			return "there is no command " + word + "\n" + usage
		}
	}
	return ""
}

func missingTarget(makefile string, words []string) string {
	for _, word := range words {
		if !strings.Contains(word, "=") && !strings.HasPrefix(word, "-") && !strings.Contains(makefile, "\n"+word+":") {
			return "there is no target " + word
		}
	}
	return ""
}

// missingProgram looks for the program of go run, and for its flags in the source.
func missingProgram(t *testing.T, words []string) string {
	t.Helper()
	source := goSource(t, words[0], "*.go")
	if !strings.Contains(source, "\npackage main\n") {
		return "there is no program " + words[0]
	}
	for _, word := range words[1:] {
		if name, isFlag := strings.CutPrefix(word, "-"); isFlag && !strings.Contains(source, `"`+name+`", `) {
			return "there is no flag " + word
		}
	}
	return ""
}

// missingTests looks for the packages of go test, and for the tests that -run or -bench selects.
func missingTests(t *testing.T, words []string) string {
	t.Helper()
	functions := ""
	for _, word := range words {
		if strings.HasPrefix(word, "./") && !strings.HasSuffix(word, "/...") {
			source := goSource(t, word, "*_test.go")
			if source == "" {
				return "there are no tests in " + word
			}
			functions += source
		}
	}
	for i, word := range words[:len(words)-1] {
		if (word != "-run" || slices.Contains(words, "-bench")) && word != "-bench" {
			continue
		}
		first, _, _ := strings.Cut(words[i+1], "/")
		pattern, err := regexp.Compile(first)
		if err != nil {
			return err.Error()
		}
		if !slices.ContainsFunc(testFunction.FindAllStringSubmatch(functions, -1), func(f []string) bool { return pattern.MatchString(f[1]) }) {
			return "there is no test " + words[i+1]
		}
	}
	return ""
}

// goSource returns the source of the files of a package whose names match.
func goSource(t *testing.T, folder, names string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", folder, names))
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, file := range files {
		source += "\n" + readFile(t, strings.TrimPrefix(file, "../../"))
	}
	return source
}

// readFile reads a file of the repository.
func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
