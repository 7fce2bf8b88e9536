package demo

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/internal/sampleapp"
)

const (
	demoHost     = "shop.example"
	livePrefix   = "/live/"
	abandonOneIn = 100
	abandonAfter = 20 * time.Millisecond
	zipfExponent = 1.1
)

// route is one kind of request.
type route struct {
	weight   int   // relative to the sum of all weights
	statuses []int // expected statuses
	bytes    int64 // length of the body with status 200; -1 accepts any
	fill     func(t *traffic, g *dice, r *load.Request)
}

var routes = []route{
	{14, []int{200, 304}, 2 << 10, fillHome},
	{12, []int{200, 304}, 24 << 10, fillScript},
	{26, []int{200}, -1, func(t *traffic, g *dice, r *load.Request) { r.Path = t.appendUser(r.Path, g) }},
	{14, []int{200}, -1, func(t *traffic, g *dice, r *load.Request) { r.Path = appendOrder(t.appendUser(r.Path, g), g) }},
	{8, []int{201}, -1, func(_ *traffic, g *dice, r *load.Request) {
		fillBody(r, "POST", g)
		r.Path = append(r.Path, "/orders"...)
	}},
	{5, []int{201, 500}, -1, func(_ *traffic, g *dice, r *load.Request) {
		fillBody(r, "POST", g)
		r.Path = append(r.Path, "/payments"...)
	}},
	{3, []int{200}, -1, func(t *traffic, g *dice, r *load.Request) { fillBody(r, "PUT", g); r.Path = t.appendUser(r.Path, g) }},
	{2, []int{204}, -1, fillDelete},
	{1, []int{503}, -1, func(_ *traffic, _ *dice, r *load.Request) { r.Path = append(r.Path, "/flaky"...) }},
	{3, []int{200}, -1, fillReport},
	{1, []int{200}, sampleapp.ExportBytes, func(_ *traffic, _ *dice, r *load.Request) { r.Path = append(r.Path, "/export"...) }},
	{1, []int{200}, -1, func(_ *traffic, _ *dice, r *load.Request) { r.Path = append(r.Path, "/events"...) }},
	{2, []int{200}, 0, func(_ *traffic, _ *dice, r *load.Request) { r.Method = "HEAD"; r.Path = append(r.Path, '/') }},
	{1, []int{200}, sampleapp.DownloadBytes, func(_ *traffic, _ *dice, r *load.Request) { r.Path = append(r.Path, "/downloads/catalogue.pdf"...) }},
	{5, []int{404}, -1, fillScanner},
	{1, []int{404}, -1, func(_ *traffic, g *dice, r *load.Request) {
		r.Path = strconv.AppendUint(append(r.Path, "/users/"...), uint64(sampleapp.UsersMax+1+g.below(100_000)), 10)
	}},
}

// live is the route of clients that disconnect before the response: one request in a hundred with Options.Abandon.
var live = route{0, []int{200}, -1, func(_ *traffic, g *dice, r *load.Request) {
	r.Path = strconv.AppendUint(append(r.Path, livePrefix...), uint64(g.below(50)), 10)
	r.AbandonAfter = abandonAfter
}}

// Typical requests of scanners. None of these paths exists.
var scannerPaths = []string{"/wp-login.php", "/.env", "/.git/config", "/admin/", "/phpmyadmin/index.php", "/cgi-bin/luci"}

// traffic chooses the request for each nonce, depending only on the seed and the nonce, and checks the responses. All connections may
// call its methods concurrently.
type traffic struct {
	seed     uint64
	abandon  bool
	weights  int
	users    []float64 // cumulative shares of users 1, 2, … in a Zipf distribution
	pageTag  atomic.Pointer[string]
	assetTag atomic.Pointer[string]
}

func newTraffic(seed uint64, abandon bool) *traffic {
	t := &traffic{seed: seed, abandon: abandon, users: make([]float64, sampleapp.UsersMax)}
	for _, r := range routes {
		t.weights += r.weight
	}
	var sum float64
	for i := range t.users {
		sum += math.Pow(float64(i+1), -zipfExponent)
		t.users[i] = sum
	}
	return t
}

// pick returns the route for a nonce, and the dice for the other properties of its request.
func (t *traffic) pick(nonce uint64) (*route, dice) {
	g := dice{state: t.seed*0x9e3779b97f4a7c15 + nonce*0xd1342543de82ef95}
	if g.below(abandonOneIn) == 0 && t.abandon {
		return &live, g
	}
	share := g.below(t.weights)
	for i := range routes {
		if share -= routes[i].weight; share < 0 {
			return &routes[i], g
		}
	}
	return &routes[0], g
}

func (t *traffic) request(nonce uint64, r *load.Request) {
	route, g := t.pick(nonce)
	r.Header = append(r.Header, "User-Agent: wayside-demo\r\n"...)
	route.fill(t, &g, r)
}

func (t *traffic) verify(nonce uint64, r *load.Response) error {
	route, _ := t.pick(nonce)
	if !slices.Contains(route.statuses, r.Status) {
		return fmt.Errorf("status %d, want one of %v", r.Status, route.statuses)
	}
	if r.Status == 200 && route.bytes >= 0 && r.BodyBytes != route.bytes {
		return fmt.Errorf("body of %d bytes, want %d", r.BodyBytes, route.bytes)
	}
	switch route {
	case &routes[0]:
		remember(&t.pageTag, r)
	case &routes[1]:
		remember(&t.assetTag, r)
	}
	return nil
}

// remember keeps the entity tag of a page for later conditional requests.
func remember(tag *atomic.Pointer[string], r *load.Response) {
	if tag.Load() != nil {
		return
	}
	if value := string(r.Get("ETag")); value != "" {
		tag.Store(&value)
	}
}

func fillHome(t *traffic, g *dice, r *load.Request) {
	r.Path = append(r.Path, '/')
	if g.below(4) == 0 {
		r.Path = append(r.Path, "?utm_source=newsletter&token=not-for-the-books"...)
	}
	ifChanged(r, g, &t.pageTag)
}

func fillScript(t *traffic, g *dice, r *load.Request) {
	r.Path = append(r.Path, "/assets/app.js"...)
	ifChanged(r, g, &t.assetTag)
}

// ifChanged makes every second request conditional, as a browser with a cache would.
func ifChanged(r *load.Request, g *dice, tag *atomic.Pointer[string]) {
	if value := tag.Load(); value != nil && g.below(2) == 0 {
		r.Header = fmt.Appendf(r.Header, "If-None-Match: %s\r\n", *value)
	}
}

func (t *traffic) appendUser(path []byte, g *dice) []byte {
	share := g.float() * t.users[len(t.users)-1]
	id := sort.SearchFloat64s(t.users, share) + 1
	return strconv.AppendUint(append(path, "/users/"...), uint64(min(id, len(t.users))), 10)
}

func appendOrder(path []byte, g *dice) []byte {
	a, b := g.roll(), g.roll()
	return fmt.Appendf(path, "/orders/%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

func fillDelete(t *traffic, g *dice, r *load.Request) {
	r.Method = "DELETE"
	r.Path = appendOrder(t.appendUser(r.Path, g), g)
}

func fillBody(r *load.Request, method string, g *dice) {
	r.Method = method
	r.Header = append(r.Header, "Content-Type: application/json\r\n"...)
	r.Body = fmt.Appendf(r.Body, `{"article":%d,"amount":%d}`, g.below(1000), 1+g.below(5))
}

func fillReport(_ *traffic, g *dice, r *load.Request) {
	r.Path = strconv.AppendUint(append(r.Path, "/reports/"...), uint64(g.below(500)), 10)
}

func fillScanner(_ *traffic, g *dice, r *load.Request) {
	r.Path = append(r.Path, scannerPaths[g.below(len(scannerPaths))]...)
}

// dice is the splitmix64 generator: fast, without allocation, and the same on every machine.
type dice struct{ state uint64 }

func (g *dice) roll() uint64 {
	g.state += 0x9e3779b97f4a7c15
	x := g.state
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (g *dice) below(n int) int { return int(g.roll() % uint64(n)) }

// float returns a number in [0, 1).
func (g *dice) float() float64 { return float64(g.roll()>>11) / (1 << 53) }
