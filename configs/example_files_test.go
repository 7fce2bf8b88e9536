package configs

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite full.yaml and the table in docs/CONFIGURATION.md from the table of keys")

const configurationPage = "../docs/CONFIGURATION.md"

func TestExamplesLoadStrictly(t *testing.T) {
	for _, kind := range Examples() {
		if strings.HasPrefix(kind, "kubernetes") {
			continue // a manifest; TestKubernetesManifest reads it
		}
		t.Run(kind, func(t *testing.T) {
			c, err := Load(LoadOptions{File: kind + ".yaml"})
			if err != nil {
				t.Fatal(err)
			}
			if kind != "full" && c.RequireUpstream() != nil {
				t.Error("the example names no upstream")
			}
			if got := Example(kind); len(got) == 0 {
				t.Error("the example is not embedded")
			}
		})
	}
}

// fullYAML renders every key with its default and its description.
func fullYAML(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("# Every key with its default. Written by `go test ./configs -update`; docs/CONFIGURATION.md explains forms and precedence.\n\n")
	c := Default()
	if err := write(&out, &c, func(k key) (string, string) { return wrap("# ", documented(k.doc, "", k.check.allowed), 110), "" }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// documented returns the description of a key, with its type and the values that it allows in parentheses.
func documented(doc, kind, allowed string) string {
	if kind != "" && allowed != "" {
		kind += ", "
	}
	if kind += allowed; kind != "" {
		doc += " (" + kind + ")"
	}
	return doc
}

func wrap(prefix, text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
			out.WriteString(prefix + word)
			column = len(prefix) + len(word)
		case column+1+len(word) > width:
			out.WriteString("\n" + prefix + word)
			column = len(prefix) + len(word)
		default:
			out.WriteString(" " + word)
			column += 1 + len(word)
		}
	}
	return out.String()
}

func TestFullExampleHoldsEveryDefault(t *testing.T) {
	want := fullYAML(t)
	if *update {
		if err := os.WriteFile("full.yaml", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("full.yaml differs from the table of keys: run `go test ./configs -update`")
	}
	full, err := Load(LoadOptions{File: "full.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	bare, err := Load(LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(full.origins) != len(Keys()) {
		t.Errorf("full.yaml sets %d keys of %d", len(full.origins), len(Keys()))
	}
	full.origins, bare.origins = nil, nil
	normalize(full)
	normalize(bare)
	if !reflect.DeepEqual(full, bare) {
		t.Errorf("full.yaml gives\n%+v\nand no file gives\n%+v", full, bare)
	}
}

// normalize replaces empty lists with nil: [] and absent mean the same.
func normalize(c *Config) {
	for _, k := range table(c) {
		if v := reflect.ValueOf(k.field).Elem(); v.Kind() == reflect.Slice && v.Len() == 0 {
			v.SetZero()
		}
	}
}

// keyTable renders the table of docs/CONFIGURATION.md.
func keyTable() string {
	var out strings.Builder
	out.WriteString("| key | default | environment | what it does | a reload |\n|---|---|---|---|---|\n")
	for _, k := range Keys() {
		name, value := "`"+k.Path+"`", "`"+k.Default+"`"
		if k.Default == "" {
			value = "–"
		}
		if k.Flag != "" {
			name += "<br>`" + k.Flag + "`"
		}
		fmt.Fprintf(&out, "| %s | %s | `%s` | %s | %s |\n", name, value, k.Env, strings.ReplaceAll(documented(k.Doc, k.Type, k.Allowed), "|", "\\|"), k.Effect)
	}
	return out.String()
}

func TestConfigurationPageListsEveryKey(t *testing.T) {
	const begin, end = "<!-- keys: written by `go test ./configs -update` -->\n", "<!-- end of keys -->"
	page, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", configurationPage, begin, end)
	}
	want := before + begin + "\n" + keyTable() + "\n" + end + after
	if *update {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s differs from the table of keys: run `go test ./configs -update`", configurationPage)
	}
}
