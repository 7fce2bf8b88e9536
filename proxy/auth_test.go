package proxy

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// userLine is a line of an htpasswd file, with the lowest cost unless another one is given.
func userLine(t *testing.T, name, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + strings.Replace(string(hash), "$2a$", "$2y$", 1) + "\n" // the prefix that htpasswd writes
}

func basic(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)) + "\r\n"
}

// checks returns how many passwords are remembered.
func (p *passwords) remembered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.verified)
}

// TestAuth: who needs a password, what the response says, and what the origin and the books get.
func TestAuth(t *testing.T) {
	up, last := recording(t, "up")
	routes := []Route{
		{
			Name: "admin", Conditions: RouteConditions{Path: "/admin/*"}, To: toOrigin,
			Users: "# users\n\n" + userLine(t, "ann", "Zürich:1", bcrypt.MinCost) + userLine(t, "bob", "", bcrypt.MinCost),
		},
		{Name: "rest", To: toOrigin},
	}
	b := start(t, up, func(o *Options) { o.Routes = routes })
	c := b.dial()
	for i, tt := range []struct {
		target, fields string
		status         int
	}{
		{"/x", "", 200},
		{"/admin/x", "", 401},
		{"/admin/x", basic("ann", "Zürich:1"), 200},
		{"/admin/x", basic("ann", "Zürich:1"), 200},
		{"/%61dmin/x", basic("ann", "wrong"), 401},
		{"//admin", "", 401},
		{"/admin/x", basic("Ann", "Zürich:1"), 401},
		{"/admin/x", basic("eve", "Zürich:1"), 401},
		{"/admin/x", basic("eve", ""), 401}, // the password that matches the decoy hash, which is used for unknown names
		{"/admin/x", basic("bob", ""), 200},
		{"/admin/x", basic("ann", ""), 401},
		{"/admin/x", "Authorization: basic   " + base64.StdEncoding.EncodeToString([]byte("bob:")) + "\r\n", 200},
		{"/admin/x", "Authorization: Bearer abc\r\n", 401},
		{"/admin/x", "Authorization: Basic\r\n", 401},
		{"/admin/x", "Authorization: Basic !!!!\r\n", 401},
		{"/admin/x", "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann")) + "\r\n", 401},
		{"/admin/x", basic("ann", strings.Repeat("x", 2000)), 401},
		{"/admin/x", basic("ann", "wrong") + basic("ann", "Zürich:1"), 401},
	} {
		c.send("GET " + tt.target + " HTTP/1.1\r\nHost: a\r\n" + tt.fields + "\r\n")
		resp, body := c.receive("GET")
		if resp.StatusCode != tt.status || resp.Close {
			t.Errorf("%s %q: %d, want %d", tt.target, tt.fields, resp.StatusCode, tt.status)
		}
		if tt.status == 401 {
			if got := resp.Header.Get("WWW-Authenticate"); got != `Basic realm="admin", charset="UTF-8"` || strings.Contains(body, "admin") {
				t.Errorf("%s %q", got, body)
			}
			b.expect(i, 401, "unauthorized")
		} else if tt.fields != "" && !strings.Contains(last().fields, "uthorization: ") {
			t.Errorf("the origin has not received the credentials: %q", last().fields)
		}
		b.responses = i + 1
	}
	if n := b.p.passwords.remembered(); n != 2 {
		t.Errorf("%d passwords are remembered, want 2: only those that were right", n)
	}
	// A changed password is checked again; an unchanged one is still remembered.
	o := b.p.current.Load().o
	o.Routes = []Route{routes[0]}
	o.Routes[0].Users = userLine(t, "ann", "new", bcrypt.MinCost) + strings.SplitAfter(routes[0].Users, "\n")[3]
	if err := b.p.Reload(o); err != nil {
		t.Fatal(err)
	}
	for fields, status := range map[string]int{basic("ann", "Zürich:1"): 401, basic("ann", "new"): 200, basic("bob", ""): 200} {
		b.responses++
		c.send("GET /admin HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n")
		if resp, _ := c.receive("GET"); resp.StatusCode != status {
			t.Errorf("after the reload: %q: %d, want %d", fields, resp.StatusCode, status)
		}
	}
	if strings.Contains(b.log.String(), "Zürich") || strings.Contains(b.log.String(), "ann") {
		t.Error("the log has credentials")
	}
}

// TestPasswordsDoNotBlockTraffic: while passwords are being checked, and others are waiting to be checked, every loop serves other requests.
func TestPasswordsDoNotBlockTraffic(t *testing.T) {
	b := start(t, deadAddr(t), func(o *Options) {
		o.Loops = 1
		o.Routes = []Route{
			{Name: "slow", Conditions: RouteConditions{Path: "/slow"}, Respond: &RouteResponse{Status: 204}, Users: userLine(t, "ann", "right", bcrypt.MinCost)},
			marked("fast", RouteConditions{}),
		}
	})
	p := b.p.passwords
	for range cap(p.running) { // as if that many checks were running
		p.running <- struct{}{}
	}
	b.responses = checksPerAddressMax + 3
	slow := make([]*client, checksPerAddressMax)
	for i := range slow {
		slow[i] = b.dial()
		slow[i].send("GET /slow HTTP/1.1\r\nHost: a\r\n" + basic("ann", "right") + "\r\n")
	}
	for waiting := 0; waiting < len(slow); time.Sleep(time.Millisecond) {
		p.mu.Lock()
		waiting = p.entered
		p.mu.Unlock()
	}
	c := b.dial()
	if resp, _ := c.get("/fast"); resp.StatusCode != 204 {
		t.Error(resp)
	}
	c.send("GET /slow HTTP/1.1\r\nHost: a\r\n" + basic("ann", "other") + "\r\n")
	if resp, _ := c.receive("GET"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Error("one more check of the same address than may wait:", resp)
	}
	b.expect(1, 503, "auth_busy")
	if resp, _ := c.get("/fast"); resp.StatusCode != 204 {
		t.Error(resp)
	}
	for range cap(p.running) {
		<-p.running
	}
	for _, c := range slow {
		if resp, _ := c.receive("GET"); resp.StatusCode != 204 {
			t.Error(resp)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entered != 0 || len(p.byAddr) != 0 {
		t.Errorf("%d checks are still counted, %v", p.entered, p.byAddr)
	}
}

// TestPasswordBounds: the numbers of running checks and of remembered passwords are bounded.
func TestPasswordBounds(t *testing.T) {
	p := newPasswords()
	for i := range 2 * verifiedMax {
		p.remember(p.keyOf([]byte("n"), fmt.Append(nil, i), nil))
	}
	if n := p.remembered(); n != verifiedMax {
		t.Errorf("%d passwords are remembered, want %d", n, verifiedMax)
	}
	entered := 0
	for i := range 2 * checksWaitingMax {
		if p.enter(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})) {
			entered++
		}
	}
	if entered != checksWaitingMax {
		t.Errorf("%d checks may wait, want %d", entered, checksWaitingMax)
	}
	if p.keyOf([]byte("a"), []byte("b:c"), nil) == p.keyOf([]byte("a"), []byte("b:d"), nil) || p.keyOf(nil, nil, nil) == newPasswords().keyOf(nil, nil, nil) {
		t.Error("keys are equal")
	}
}

// TestUnknownUsers: for a name that does not exist, the password is compared with a hash of the highest cost in the file.
func TestUnknownUsers(t *testing.T) {
	u, err := newUsers(userLine(t, "a", "x", 4) + userLine(t, "b", "x", 6) + userLine(t, "c", "x", 5))
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(u.decoy); err != nil || cost != 6 {
		t.Error(cost, err)
	}
	for _, text := range []string{"a", "a:", ":" + string(u.decoy), "a:$apr1$x$y", "a:{SHA}x", "\n# only a comment\n", "a:" + string(u.decoy) + "x", "a:" + string(u.decoy) + "\na:" + string(u.decoy)} {
		if _, err := newUsers(text); err == nil {
			t.Errorf("%q is accepted", text)
		} else if strings.Contains(err.Error(), "$") {
			t.Errorf("the error has a hash: %v", err)
		}
	}
}

// TestOneCheckForManyRequests: concurrent requests with the same password need only one check.
func TestOneCheckForManyRequests(t *testing.T) {
	u, err := newUsers(userLine(t, "a", "x", bcrypt.MinCost))
	if err != nil {
		t.Fatal(err)
	}
	p := newPasswords()
	hash := u.hashes["a"]
	key := p.keyOf([]byte("a"), []byte("x"), hash)
	for range cap(p.running) - 1 {
		p.running <- struct{}{}
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if !p.check(key, true, hash, []byte("x")) {
				t.Error("the right password is refused")
			}
		})
	}
	all.Wait()
	if !p.check(key, true, []byte("not a hash"), nil) { // succeeds only if nothing is compared any more
		t.Error("the password is checked again")
	}
}
