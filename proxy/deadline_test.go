package proxy

import (
	"net/http"
	"testing"
	"time"
)

// TestSweeperSleepsWithoutConnections checks that an idle process has no ticks, and that the clock and Date are correct again when a connection
// arrives.
func TestSweeperSleepsWithoutConnections(t *testing.T) {
	b := start(t, canned(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), func(o *Options) { o.MaxIdleUpstream = 20 * time.Millisecond })
	b.responses = 2
	asleep := func() bool {
		b.p.sweeper.mu.Lock()
		defer b.p.sweeper.mu.Unlock()
		return b.p.sweeper.sleep != nil
	}
	for range 2 {
		began := time.Now().Truncate(time.Second)
		c := b.dial()
		resp, _ := c.get("/")
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if err != nil || date.Before(began) {
			t.Errorf("Date: %v, %v, after %v", date, err, began)
		}
		if asleep() {
			t.Error("no ticks although a connection is open")
		}
		_ = c.conn.Close()
		for !asleep() { // the sweeper sleeps only after the upstream connection has been closed, too
			time.Sleep(time.Millisecond)
		}
		time.Sleep(1100 * time.Millisecond)
	}
}
