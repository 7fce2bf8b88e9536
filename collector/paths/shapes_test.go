package paths

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// shownAs labels paths. It returns the templates under which each is shown at the end, with their numbers of requests.
func shownAs(l *Labeler, paths []string) map[string]map[string]int {
	given := map[[2]string]int{}
	for _, p := range paths {
		given[[2]string{p, label(l, p, 200)}]++
	}
	shown := map[string]map[string]int{}
	for pair, n := range given {
		if shown[pair[0]] == nil {
			shown[pair[0]] = map[string]int{}
		}
		shown[pair[0]][l.Rules().Label("example.com", pair[1])] += n
	}
	return shown
}

// Codes of countries and languages are values, however common they are. Names of two letters without common names below them are not.
func TestLocales(t *testing.T) {
	codes := []string{"at", "be", "de", "en", "en-GB", "es", "fr", "it", "nl", "pt_BR", "se"}
	random := rand.New(rand.NewPCG(1, 2))
	var paths []string
	for range 6000 {
		code := codes[random.IntN(len(codes))]
		paths = append(paths, "/"+code+[]string{"/cart", "/checkout", "/products/" + fmt.Sprint(random.IntN(500))}[random.IntN(3)],
			[]string{"/v1/list", "/js/app", "/up/now", "/my/page", "/qa/all", "/go/away", "/tv/guide"}[random.IntN(7)])
	}
	shown := shownAs(newLabeler(t, Options{}), paths)
	for _, code := range codes {
		if shown["/"+code+"/cart"]["/{id}/cart"] == 0 {
			t.Errorf("/%s/cart is shown as %v", code, shown["/"+code+"/cart"])
		}
	}
	for _, name := range []string{"/v1/list", "/qa/all", "/tv/guide"} {
		if shown[name][name] == 0 {
			t.Errorf("%s is shown as %v", name, shown[name])
		}
	}
}

// A date at the beginning of a path is a version, unless there are many.
func TestDatesInFront(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var paths []string
	for range 3000 {
		paths = append(paths, fmt.Sprintf("/2015-03-31/functions/%d", random.IntN(500)), "/2019-09-30/layers")
	}
	shown := shownAs(newLabeler(t, Options{}), paths)
	if got := shown["/2019-09-30/layers"]; got["/2019-09-30/layers"] != 3000 {
		t.Errorf("a version is shown as %v", got)
	}
	paths = nil
	for day := range 2000 {
		paths = append(paths, fmt.Sprintf("/%04d-%02d-%02d/menu", 2020+day/336, 1+day/28%12, 1+day%28))
	}
	l := newLabeler(t, Options{})
	shownAs(l, paths)
	if got := label(l, "/2031-01-01/menu", 200); got != "/{id}/menu" {
		t.Errorf("one of very many dates is %s", got)
	}
	if got := label(l, "/2031-01-01", 200); got != "/{id}" {
		t.Errorf("a date with nothing below it is %s", got)
	}
}

// Names among values stand out by their number of requests; the most popular value does not.
func TestNamesStandOut(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	zipf := rand.NewZipf(random, 1.05, 10, 3000)
	users := make([]string, 3001)
	for i := range users {
		users[i] = "/user/" + word(random, 7)
	}
	var paths []string
	for range 8000 {
		switch n := random.IntN(10); {
		case n < 2:
			paths = append(paths, "/user/login")
		case n < 4:
			paths = append(paths, "/user/logout")
		default:
			paths = append(paths, users[zipf.Uint64()])
		}
	}
	l := newLabeler(t, Options{})
	shown := shownAs(l, paths)
	for _, name := range []string{"/user/login", "/user/logout"} {
		if shown[name][name] == 0 {
			t.Errorf("%s is shown as %v", name, shown[name])
		}
	}
	apart := 0
	for _, user := range users {
		if shown[user][user] > 0 {
			apart++
		}
	}
	if apart > 1 || label(l, "/user/somebody-else", 200) != "/user/{id}" {
		t.Errorf("%d users have rows of their own; another is %s", apart, label(l, "/user/somebody-else", 200))
	}
}

// The pages of a site next to the names of its users, such as "/login" next to "/@anna/posts", stay pages, however many
// there are: there are no paths below them, but there are paths below nearly every user. Even a page that is new after
// the users were learned is found.
func TestPagesBesideUsers(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	zipf := rand.NewZipf(random, 1.05, 10, 3000)
	users := make([]string, 3001)
	for i := range users {
		users[i] = "/" + word(random, 7)
	}
	pages := []string{
		"/about", "/contact", "/explore", "/features", "/health", "/help", "/jobs", "/login", "/logout", "/pricing", "/privacy", "/search",
		"/signup", "/terms",
	}
	some := func(pages []string) (paths []string) {
		for range 5_000 {
			user := users[zipf.Uint64()]
			for range 8 {
				paths = append(paths, pages[random.IntN(len(pages))])
			}
			paths = append(paths, []string{user, user + "/posts", user + "/likes", user + "/posts"}[random.IntN(4)],
				[]string{"/static/js/app.js", "/blog/archive", "/err/x", "/docs/start"}[random.IntN(4)])
		}
		return paths
	}
	l := newLabeler(t, Options{})
	for path, shown := range shownAs(l, some(pages)) {
		if slices.Contains(pages, path) && len(shown) > 1 {
			t.Errorf("%s is shown as %v when users have just been learnt", path, shown)
		}
	}
	shown := shownAs(l, some(append(pages, "/new")))
	for _, page := range append(pages, "/static/js/app.js", "/docs/start") {
		if shown[page][page] == 0 || len(shown[page]) > 1 {
			t.Errorf("%s is shown as %v", page, shown[page])
		}
	}
	if shown["/new"]["/new"] < 250 { // it takes 64 responses, of which one in eight may be counted
		t.Errorf("a new page is shown as %v", shown["/new"])
	}
	apart := 0
	for _, user := range users {
		if shown[user][user] > 0 || shown[user+"/posts"][user+"/posts"] > 0 {
			apart++
		}
	}
	if apart > 0 || label(l, "/somebody", 200) != "/{id}" {
		t.Errorf("%d users have rows of their own; another is %s", apart, label(l, "/somebody", 200))
	}
}

// Names that have a different shape from the values next to them, such as a file or a path with identifiers below it,
// are recognized even if there are no paths below the values, as in a site with posts at its root.
func TestFilesAndListsBesidePosts(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	zipf := rand.NewZipf(random, 1.05, 10, 3000)
	posts := make([]string, 3001)
	for i := range posts {
		posts[i] = "/" + word(random, 4) + "-" + word(random, 5)
	}
	var paths []string
	for range 12_000 {
		paths = append(paths, posts[zipf.Uint64()], posts[zipf.Uint64()], posts[zipf.Uint64()],
			[]string{"/robots.txt", "/favicon.ico", "/page/" + fmt.Sprint(random.IntN(30)), "/invoices/" + fmt.Sprint(random.IntN(3000))}[random.IntN(4)])
	}
	l := newLabeler(t, Options{})
	shown := shownAs(l, paths)
	for path, want := range map[string]string{"/robots.txt": "/robots.txt", "/favicon.ico": "/favicon.ico", "/page/7": "/page/{id}", posts[0]: "/{id}"} {
		if shown[path][want] == 0 || len(shown[path]) > 1 {
			t.Errorf("%s is shown as %v", path, shown[path])
		}
	}
	if got := label(l, "/invoices/12345", 200); got != "/invoices/{id}" {
		t.Errorf("an invoice is %s", got)
	}
}
