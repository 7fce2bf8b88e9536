package proxy

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAcceptFailuresAreCounted(t *testing.T) {
	var f acceptFailures
	now, total := time.Unix(1000, 0), 0
	for i := range 250 { // simulates 2.5 seconds
		n := f.count(now)
		if due := i%100 == 0; (n > 0) != due {
			t.Errorf("attempt %d: %d", i, n)
		}
		total += n
		now = now.Add(10 * time.Millisecond)
	}
	if total != 201 || f.attempts != 49 {
		t.Errorf("%d reported, %d left", total, f.attempts)
	}
}

// TestOutOfDescriptors: if there are no free descriptors, every attempt to accept fails. That is logged once a second, with the number
// of attempts. Connections that wait in the listener's queue are served later.
func TestOutOfDescriptors(t *testing.T) {
	b := start(t, echoHead(t), nil)
	b.responses = 2
	b.dial().get("/warm")
	release := takeDescriptors(t)
	began := time.Now()
	c := b.dial() // uses the only descriptor that is left
	line := regexp.MustCompile(`cannot accept connections.* attempts=(\d+)`)
	var lines [][]string
	for len(lines) < 3 {
		time.Sleep(5 * time.Millisecond)
		lines = line.FindAllStringSubmatch(b.log.String(), -1)
	}
	release()
	took := time.Since(began)
	c.get("/later")
	if got := b.log.Count("cannot accept"); got > int(took/time.Second)+2 {
		t.Errorf("%d lines in %s", got, took)
	}
	if first, _ := strconv.Atoi(lines[0][1]); first != 1 {
		t.Errorf("%d attempts before the first line", first)
	}
	if second, _ := strconv.Atoi(lines[1][1]); second < 2 {
		t.Errorf("%d attempts before the second line", second)
	}
}

// takeDescriptors lets this process open one more descriptor, until release is called.
func takeDescriptors(t *testing.T) (release func()) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = min(old.Cur, 512)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []io.Closer
	release = func() {
		for _, f := range taken {
			_ = f.Close()
		}
		taken = nil
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	}
	t.Cleanup(release)
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	if len(taken) == 0 {
		t.Fatal("no descriptor is free")
	}
	_ = taken[len(taken)-1].Close()
	taken = taken[:len(taken)-1]
	return release
}
