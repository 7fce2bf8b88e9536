package configs

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
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

// TestStandaloneExampleSetsLittle: the guide for systemd uses this example, so a key that nobody has chosen must not be in effect. The suggestions
// in it are valid if the # is removed.
func TestStandaloneExampleSetsLittle(t *testing.T) {
	const file = "standalone.yaml"
	c, err := Load(LoadOptions{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(c.origins)), []string{"admin.listen", "data.dir", "listen", "service", "upstream"}; !slices.Equal(got, want) {
		t.Errorf("it sets %q, want %q", got, want)
	}
	suggestion := regexp.MustCompile(`(?m)^( *)#([a-z])`)
	text := string(Example("standalone"))
	if n := len(suggestion.FindAllString(text, -1)); n < 8 {
		t.Fatalf("only %d suggestions found", n)
	}
	c, err = Load(LoadOptions{File: writeFile(t, suggestion.ReplaceAllString(text, "$1$2"))})
	if err != nil {
		t.Fatal(err)
	}
	if c.Proxy.BodyBytesMax == 0 || len(c.Proxy.TrustedProxies) == 0 || len(c.Record.Exclude.Paths) == 0 || !strings.HasPrefix(c.Archive.URL, "s3://") {
		t.Errorf("not all suggestions are in effect: %+v", c)
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
	out.WriteString(elementsHead)
	for line := range strings.Lines(elementsYAML(t)) {
		out.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	return out.Bytes()
}

const elementsHead = `
# Instead of upstream, a file can have groups of servers and routes to them. This is an example with all of their keys. Keys that are
# left out have the values shown here, except the names, addresses and conditions.
#
`

// elementsYAML renders an example of each structured key with all keys of its elements.
func elementsYAML(t *testing.T) string {
	t.Helper()
	c := sample()
	u, r := &c.Upstreams[0], &c.Routes[0]
	u.Name, u.Servers = "api", []Server{{"http://10.0.0.7:8080", 1}, {"http://10.0.0.8:8080", 2}}
	r.Name, r.Host, r.Path, r.Methods, r.Headers = "api", "*.example.org", "/api/*", []string{"GET", "POST"}, map[string]string{"X-Beta": "1"}
	r.To = []Target{{"api", 90}, {"web", 10}}
	timeout, limit := Minute, MiB
	r.Respond, r.ResponseTimeout, r.BodyBytesMax = nil, &timeout, &limit
	c.TLS.Certificates[0] = Certificate{"example.crt", "example.key"}
	all := func(keys []key) *yaml.Node {
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range keys {
			name, _ := add(n, k.path, valueNode(k.field))
			name.HeadComment = wrap("# ", documented(k.doc, "", k.check.allowed), 100)
		}
		return n
	}
	list := func(element *yaml.Node) *yaml.Node {
		return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{element}}
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	add(root, "tls.certificates", list(all(certificateKeys(&c.TLS.Certificates[0]))))
	groups := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{stringNode("web"), stringNode("http://10.0.0.5:3000"), stringNode(u.Name), all(upstreamKeys(u))}}
	add(root, groupsKey, groups)
	add(root, routesKey, list(all(routeKeys(r))))
	out, err := yaml.Dump(root, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestCommentedElementsLoad: the commented part of full.yaml has all keys of elements, and is valid without the #.
func TestCommentedElementsLoad(t *testing.T) {
	_, rest, ok := strings.Cut(string(Example("full")), elementsHead)
	if !ok {
		t.Fatal("full.yaml has no such part")
	}
	var text strings.Builder
	for line := range strings.Lines(rest) {
		text.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	c, errs := readEdge(text.String())
	if len(errs) > 0 {
		t.Fatalf("%v\n%s", errs, text.String())
	}
	for _, k := range elementKeys(c) {
		if strings.HasPrefix(k.path, "routes") && c.origins[k.path].line == 0 && k.path != "routes[0].respond" {
			t.Errorf("%s is missing", k.path)
		}
	}
}

// documented returns the description of a key, with its type and the allowed values in parentheses.
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

// keyTable renders the table of keys in docs/CONFIGURATION.md.
func keyTable() string {
	var out strings.Builder
	out.WriteString("| key | default | environment | what it does | effect of a reload |\n|---|---|---|---|---|\n")
	for _, k := range Keys() {
		name, value := "`"+k.Path+"`", "`"+k.Default+"`"
		env := "`" + k.Env + "`"
		if k.Env == "" {
			env = "–"
		}
		if k.Default == "" {
			value = "–"
		}
		if k.Flag != "" {
			name += "<br>`" + k.Flag + "`"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", name, value, env, strings.ReplaceAll(documented(k.Doc, k.Type, k.Allowed), "|", "\\|"), k.Effect)
	}
	return out.String()
}

// elementTable renders the table of the keys that elements can have.
func elementTable() string {
	var out strings.Builder
	out.WriteString("| key | default | what it does |\n|---|---|---|\n")
	for _, k := range ElementKeys() {
		value := "`" + k.Default + "`"
		if k.Default == "" {
			value = "–"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", k.Path, value, strings.ReplaceAll(documented(k.Doc, k.Type, k.Allowed), "|", "\\|"))
	}
	return out.String()
}

func TestConfigurationPageListsEveryKey(t *testing.T) {
	checkTable(t, "keys", keyTable())
	checkTable(t, "keys of elements", elementTable())
}

// checkTable compares a table in docs/CONFIGURATION.md with the expected one, or writes it with -update.
func checkTable(t *testing.T, name, table string) {
	t.Helper()
	begin, end := "<!-- "+name+": written by `go test ./configs -update` -->\n", "<!-- end of "+name+" -->"
	page, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", configurationPage, begin, end)
	}
	want := before + begin + "\n" + table + "\n" + end + after
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
