package paths

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/test/pathbench"
)

const testHost = "api.example.com"

func labelOf(l *Labeler, r pathbench.Request) string {
	_, _, label := rowOf(l, []byte(testHost), []byte(r.Method), []byte(r.Path), r.Status)
	return label
}

// These are the figures of the benchmark with less traffic. test/bench/paths measures all of them.
func TestTemplatesOfKnownAPIs(t *testing.T) {
	for _, api := range pathbench.Names {
		ops, err := pathbench.Load(api)
		if err != nil {
			t.Fatal(err)
		}
		g := pathbench.New(ops, pathbench.Options{Seed: 42})
		l := newLabeler(t, Options{})
		var score pathbench.Score
		for range 150_000 {
			r := g.Next()
			score.Add(r, labelOf(l, r))
		}
		res := score.Result(func(label string) string { return l.Rules().Label(testHost, label) })
		exact := map[string]float64{"github": 0.95}[api]
		if res.Exact < max(exact, 0.9) || res.ExactTemplates < 0.85 || res.Over > 0.01 {
			t.Errorf("%s: %.2f %% of requests and %.2f %% of templates are exact, %.2f %% merged with others",
				api, 100*res.Exact, 100*res.ExactTemplates, 100*res.Over)
		}
		if u := l.Usage(); u.Rows > u.RowsMax || u.Labels > 4*u.RowsMax {
			t.Errorf("%s: %+v", api, u)
		}
	}
}

// The result of learning does not depend on the size of batches, on rollbacks or on restarts.
func TestLearningSurvives(t *testing.T) {
	ops, err := pathbench.Load("github")
	if err != nil {
		t.Fatal(err)
	}
	g := pathbench.New(ops, pathbench.Options{Seed: 7})
	random := rand.New(rand.NewPCG(3, 4))
	plain, tried := newLabeler(t, Options{}), newLabeler(t, Options{})
	state := map[string][]byte{}
	for done := 0; done < 20_000; {
		batch := make([]pathbench.Request, 1+random.IntN(1500))
		for i := range batch {
			batch[i] = g.Next()
		}
		if random.IntN(4) == 0 {
			tried.Begin()
			for _, r := range batch[:random.IntN(len(batch))] {
				labelOf(tried, r)
			}
			tried.Rollback()
		}
		tried.Begin()
		for i, r := range batch {
			if want, got := labelOf(plain, r), labelOf(tried, r); got != want {
				t.Fatalf("event %d, %s: %q without interruption, %q with", done+i, r.Path, want, got)
			}
		}
		for _, c := range tried.Changes() {
			if c.Value == nil {
				delete(state, string(c.Key))
			} else {
				state[string(c.Key)] = c.Value
			}
		}
		tried.Commit()
		done += len(batch)
		if random.IntN(3) == 0 {
			tried = newLabeler(t, Options{})
			for key, value := range state { // in any order
				if err := tried.Restore([]byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
		}
		if diff := cmp.Diff(plain.Usage(), tried.Usage()); diff != "" {
			t.Fatalf("after %d events (-plain +tried):\n%s", done, diff)
		}
	}
	levels := func(l *Labeler) []string {
		learnt, likely := l.Learnt()
		return append(learnt, likely...)
	}
	if diff := cmp.Diff(levels(plain), levels(tried)); diff != "" || len(levels(plain)) < 5 {
		t.Errorf("learnt (-plain +tried):\n%s", diff)
	}
}

// Fifty routes that arrive after a flood of invented paths all get their own rows, for every status and form of the
// flood, and the flood takes no more room than it may.
func TestLateRoutes(t *testing.T) {
	letters := func(r *rand.Rand) string { return "/" + word(r, 10) }
	flood := 30_000
	if text := os.Getenv("WAYSIDE_FLOOD"); text != "" { // the evidence uses a million
		if _, err := fmt.Sscan(text, &flood); err != nil {
			t.Fatal(err)
		}
	}
	floods := map[string]func(*rand.Rand) string{
		"one segment":        letters,
		"two segments":       func(r *rand.Rand) string { return letters(r) + letters(r) },
		"one to six":         func(r *rand.Rand) string { return strings.Repeat(letters(r), 1+r.IntN(6)) },
		"below one name":     func(r *rand.Rand) string { return "/shop" + letters(r) },
		"with known endings": func(r *rand.Rand) string { return letters(r) + []string{".php", ".asp", "/x/y.php"}[r.IntN(3)] },
	}
	for name, path := range floods {
		for _, status := range []uint16{404, 200} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				random := rand.New(rand.NewPCG(5, 6))
				l := newLabeler(t, Options{})
				shown, proofs := map[string]int{}, map[string]uint64{}
				send := func(path string, status uint16) {
					given := label(l, path, status)
					shown[given]++
					if Proves(status) {
						proofs[given]++
					}
				}
				for range flood {
					send(path(random), status)
				}
				want := map[string]bool{}
				for range 40 {
					for i := range 50 {
						route := fmt.Sprintf("/api/%s/list", strings.Repeat(string(rune('a'+i%25)), 3+i/25))
						want[route] = true
						send(route, 200)
					}
				}
				final, sum := map[string]int{}, 0
				for given, n := range shown {
					final[l.Rules().Label("example.com", given)] += n
					sum += n
				}
				for route := range want {
					if final[route] == 0 {
						t.Errorf("%s is not there", route)
					}
				}
				if len(final) > DefaultMax+1 || sum != flood+2000 {
					t.Errorf("%d rows, %d requests", len(final), sum)
				}
				u := l.Usage()
				if t.Logf("%d requests, %d rows shown, %+v", sum, len(final), u); u.Rows > u.RowsMax || u.Labels > 4*u.RowsMax {
					t.Errorf("%+v", u)
				}
				sameRelearnt(t, proofs, shown, final)
			})
		}
	}
}

// sameRelearnt gives only the labels to a new labeler, as a rebuild from the archive does, and checks that it shows
// them in the same way.
func sameRelearnt(t *testing.T, proofs map[string]uint64, shown, final map[string]int) {
	t.Helper()
	l := newLabeler(t, Options{})
	l.Begin()
	for _, given := range slices.Sorted(maps.Keys(shown)) {
		l.Known(catalogue.RowName{Host: "example.com", Method: "GET", Label: given}, proofs[given], false)
	}
	l.Relearn()
	changes := slices.DeleteFunc(l.Changes(), func(c Change) bool { return c.Value == nil })
	again := restored(t, Options{}, changes)
	for _, l := range []*Labeler{l, again} {
		rows := map[string]int{}
		for given, n := range shown {
			rows[l.Rules().Label("example.com", given)] += n
		}
		for row, n := range final { // except for rare rows under a name that was found later
			if rows[row] == 0 && n >= exceptionCount {
				t.Errorf("%s, with %d responses, is not there when learnt from the labels alone", row, n)
			}
		}
		for row, n := range rows {
			if final[row] == 0 {
				t.Errorf("%s, with %d responses, is new when learnt from the labels alone", row, n)
			}
		}
		if u := l.Usage(); u.Rows > u.RowsMax {
			t.Errorf("%+v", u)
		}
	}
}

// Learning does not change a configured template.
func TestConfiguredTemplatesAreNotLearntOver(t *testing.T) {
	l := newLabeler(t, Options{Templates: []string{"/users/me", "/users/{login}/keys"}})
	random := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		label(l, "/users/"+word(random, 8)+"/posts", 200)
	}
	if got := label(l, "/users/anna/posts", 200); got != "/users/{id}/posts" {
		t.Fatalf("not learnt: %q", got)
	}
	for path, want := range map[string]string{"/users/me": "/users/me", "/users/anna/keys": "/users/{login}/keys"} {
		if got := l.Rules().Label("example.com", label(l, path, 200)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// Secrets are recognized by their form, without learning.
func TestSecretsAreInNoTemplate(t *testing.T) {
	l := newLabeler(t, Options{})
	for _, secret := range []string{
		"anna.meyer@example.com", "anna%40example.com", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
		"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE", "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
		"dGhpcyBpcyBhIHNlY3JldCB0b2tlbg==", "QWxhZGRpbjpvcGVuIHNlc2FtZQ", "qzxvkjhwpmtrbndlgfscyaqe", "4111111111111111", "+49-170-1234567",
		"9f3c2a1b7d", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "123e4567-e89b-12d3-a456-426614174000",
	} {
		for _, path := range []string{"/reset/" + secret, "/reset/" + secret + "/confirm", "/a;sid=" + secret, "/f/" + secret + ".json"} {
			if got := label(l, path, 200); strings.Contains(got, secret) {
				t.Errorf("%s is shown as %s", path, got)
			}
		}
	}
}
