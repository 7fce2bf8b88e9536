package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSequence: each server gets as many turns as its weight says, and its turns are spread evenly: the distance between two of them is at most
// the average distance plus the number of servers.
func TestSequence(t *testing.T) {
	for _, weights := range [][]int{{1}, {1, 1}, {2, 4}, {5, 1, 1}, {100, 1}, {3, -1, 0, 7}, {100, 99, 98, 1, 1, 50}, {500, 1000}} {
		order := Sequence(weights)
		sum, counts, last := 0, make([]int, len(weights)), make(map[uint16]int)
		for _, w := range weights {
			sum += max(w, 0)
		}
		for turn, i := range slices.Concat(order, order) {
			if before, ok := last[i]; ok && turn-before > sum/weights[i]+len(weights) {
				t.Errorf("%v: server %d waits for %d turns", weights, i, turn-before)
			}
			last[i] = turn
		}
		for _, i := range order {
			counts[i]++
		}
		for i, w := range weights {
			if counts[i]*sum != max(w, 0)*len(order) {
				t.Errorf("%v: server %d has %d of %d turns", weights, i, counts[i], len(order))
			}
		}
	}
	if len(Sequence([]int{0, -3})) != 0 || len(Sequence(nil)) != 0 {
		t.Error("servers without weight have turns")
	}
	var many []int // weights without a common divisor
	for i := range 256 {
		many = append(many, 1000-i%2)
	}
	if order := Sequence(many); len(order) > turnsMax || len(order) < turnsMax*9/10 {
		t.Errorf("%d turns", len(order))
	}
	if got := Sequence([]int{5, 1, 1}); !slices.Equal(got, []uint16{0, 0, 1, 0, 2, 0, 0}) {
		t.Error(got)
	}
}

func TestBudget(t *testing.T) {
	var b Budget
	count := func(requests int) (retries int) {
		for range requests {
			b.Request()
			if b.Retry() {
				retries++
			}
		}
		return retries
	}
	if got := count(10_000); got < 2000+100-30 || got > 2000+100+30 {
		t.Errorf("%d retries of 10,000 requests that all fail", got)
	}
	if got := count(10_000); got < 1990 || got > 2001 {
		t.Errorf("%d retries of 10,000 further ones", got)
	}
	for range 500 {
		b.Request()
	}
	for n := 0; b.Retry(); n++ {
		if n > 100 {
			t.Fatal("the reserve grows beyond its bound")
		}
	}
}

func TestHealthByChecks(t *testing.T) {
	var h Health
	bad, now := errors.New("status 500"), time.Unix(1000, 0)
	for i, step := range []struct {
		err   error
		state State
	}{{bad, Up}, {bad, Up}, {nil, Up}, {bad, Up}, {bad, Up}, {bad, Down}, {nil, Down}, {bad, Down}, {nil, Down}, {nil, Up}} {
		h.Checked(step.err, 3, 2, now.Add(time.Duration(i)*time.Second))
		if state, _, _ := h.State(); state != step.state {
			t.Fatalf("after step %d: %s", i, state)
		}
	}
	if _, since, why := h.State(); since != now.Add(9*time.Second) || why != "passes its checks" {
		t.Error(since, why)
	}
	h.Checked(bad, 1, 1, now)
	if !h.Unchecked(now) || h.state != Up {
		t.Error("without checks, the server stays down")
	}
}

// TestEjectionGrows: each ejection is longer than the previous one, up to a limit, until the server has worked well for a while.
func TestEjectionGrows(t *testing.T) {
	var h Health
	now, d := time.Unix(1000, 0), 30*time.Second
	for n := 1; n <= 15; n++ {
		if got, want := h.Eject(d, "reset", now), d*time.Duration(min(n, 10)); got != want || h.state != Ejected {
			t.Fatalf("ejection %d: %s", n, got)
		}
		if h.Expire(h.EjectedUntil().Add(-1), false) {
			t.Fatal("ended too early")
		}
		now = h.EjectedUntil()
		if !h.Expire(now, false) || h.state != Up || !h.EjectedUntil().IsZero() {
			t.Fatal("did not end")
		}
		now = now.Add(time.Second)
	}
	if got := h.Eject(d, "reset", now.Add(300*time.Second)); got != d {
		t.Errorf("after a time of good service: %s", got)
	}
	if !h.Expire(now, true) || h.state != Up {
		t.Error("not ended although forced")
	}
}

// TestDownAndEjected: a server that is down stays down when its ejection ends, and an ejected server that passes its checks stays ejected.
func TestDownAndEjected(t *testing.T) {
	var h Health
	now := time.Unix(1000, 0)
	h.Eject(time.Minute, "reset", now)
	h.Checked(errors.New("status 500"), 1, 1, now)
	if h.state != Down || h.Expire(now.Add(time.Hour), false) || h.state != Down {
		t.Error(h.state)
	}
	h.Checked(nil, 1, 1, now.Add(time.Second))
	if h.state != Ejected {
		t.Error(h.state)
	}
}

func TestAddresses(t *testing.T) {
	var a Addresses
	at := func(s string) (list []netip.Addr) {
		for _, f := range strings.Fields(s) {
			list = append(list, netip.MustParseAddr("10.0.0."+f))
		}
		return list
	}
	for i, step := range []struct{ found, want string }{
		{"1 2", "1 2"},
		{"3 4", "1 2 3 4"}, // new addresses are used at once, old ones until the next lookup
		{"3 4", "3 4"},
		{"4", "3 4"},
		{"3 4", "3 4"}, // a lookup that returned only some of the addresses removes nothing
		{"5", "3 4 5"},
		{"6", "5 6"}, // at most half are removed in one step
	} {
		got := a.Update(at(step.found))
		slices.SortFunc(got, netip.Addr.Compare)
		if !slices.Equal(got, at(step.want)) {
			t.Fatalf("step %d: %v, want %s", i, got, step.want)
		}
	}
	a = Addresses{}
	a.Update(at("1 2 3 4 5 6 7 8"))
	a.Update(at("1"))
	if got := a.Update(at("1")); len(got) != 4 {
		t.Errorf("%d of 8 addresses left after one step", len(got))
	}
	a = Addresses{}
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	if got := a.Update(many); len(got) != AddressesMax {
		t.Errorf("%d addresses are used", len(got))
	}
}

func TestCheck(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			if r.Host != "app:80" || r.Header.Get("User-Agent") != "wayside-check" || !r.Close {
				w.WriteHeader(400)
			}
		case "/moved":
			w.WriteHeader(302)
		case "/bad":
			w.WriteHeader(503)
		case "/large":
			_, _ = w.Write(make([]byte, checkBytesMax+1))
		case "/hang":
			<-hang
		}
	}))
	t.Cleanup(func() { close(hang); s.Close() })
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	for path, want := range map[string]string{"/ok": "", "/moved": "", "/bad": "status 503", "/large": "body size exceeds", "/hang": "timeout"} {
		err := NewCheck(dial, false, "app:80", path, 200*time.Millisecond).Do()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	nobody := func(context.Context) (net.Conn, error) { return nil, errors.New("refused") }
	if err := NewCheck(nobody, false, "a", "/", time.Second).Do(); err == nil {
		t.Error("a server that cannot be reached passes")
	}
}
