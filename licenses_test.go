package wayside

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite THIRD_PARTY_LICENSES")

// listed is a package in the output of go list.
type listed struct {
	Dir    string
	Module *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linked returns the packages of other modules that are in the binary.
func linked(t *testing.T) (packages []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/wayside")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main {
			packages = append(packages, p)
		}
	}
}

// goroot asks the go command: go/build does not know it in a test that was built with -trimpath.
func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// licenceFiles returns the licenses and notices in a folder.
func licenceFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		for _, prefix := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if e.Type().IsRegular() && strings.HasPrefix(upper, prefix) && !strings.HasSuffix(upper, ".GO") {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
	}
	return names
}

// collect returns each text with the places where it was found. Most places have one of a few texts.
func collect(t *testing.T) map[string][]string {
	t.Helper()
	from := map[string][]string{}
	add := func(what, name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		if !slices.Contains(from[key], what) {
			from[key] = append(from[key], what)
		}
	}
	for _, name := range licenceFiles(t, goroot(t)) {
		add("Go, "+filepath.Base(name), name)
	}
	licensed := map[string]bool{}
	for _, p := range linked(t) {
		for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir); dir = filepath.Dir(dir) { // code from elsewhere has its license in its own folder
			for _, name := range licenceFiles(t, dir) {
				rel, _ := filepath.Rel(p.Module.Dir, name)
				add(fmt.Sprintf("%s %s, %s", p.Module.Path, p.Module.Version, rel), name)
				licensed[p.Module.Path] = true
			}
		}
		if !licensed[p.Module.Path] {
			t.Errorf("%s has no licence that could be found", p.Module.Path)
		}
	}
	var dashboard struct{ Dependencies map[string]string }
	text, err := os.ReadFile("collector/api/dashboard/package.json")
	if err = errors.Join(err, json.Unmarshal(text, &dashboard)); err != nil || len(dashboard.Dependencies) != 1 {
		t.Fatal("what is the dashboard built from?", dashboard, err)
	}
	add("uPlot "+dashboard.Dependencies["uplot"]+" (in the dashboard), LICENSE", "collector/api/dashboard/LICENSE.uPlot")
	return from
}

// TestThirdPartyLicenses: THIRD_PARTY_LICENSES has the licenses and notices of exactly the linked packages.
func TestThirdPartyLicenses(t *testing.T) {
	from := collect(t)
	var texts []string
	for text, places := range from {
		slices.Sort(places)
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int { return strings.Compare(from[a][0], from[b][0]) })
	var out strings.Builder
	out.WriteString("What wayside is built from, with licenses and notices. Each text follows the names of the components to which it applies.\n")
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 100), strings.Join(from[text], "\n"), text)
	}
	if *update {
		if err := os.WriteFile("THIRD_PARTY_LICENSES", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if ThirdParty != out.String() {
		t.Error("THIRD_PARTY_LICENSES does not fit go.mod: go test . -run TestThirdPartyLicenses -update")
	}
}
