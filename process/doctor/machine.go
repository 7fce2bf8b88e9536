package doctor

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/process"
)

// earliest is a time before this code was written: a clock that shows an earlier time is wrong.
var earliest = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// clock checks whether the time is plausible, and whether the clock is synchronized.
func (d *doctor) clock() {
	const check = "clock"
	now := time.Now()
	if now.Before(earliest) {
		d.fail(check, "set the clock; events are filed by hour, and S3 refuses requests with a wrong time", "the clock says %s", now.UTC().Format(time.RFC3339))
		return
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		d.skip(check, "the kernel does not report whether the clock is synchronized: %v", err)
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		d.warn(check, "run chrony, systemd-timesyncd or another NTP client on the host", "%s; the kernel reports that nothing synchronizes the clock", now.UTC().Format(time.RFC3339))
	default:
		d.ok(check, "%s, synchronized", now.UTC().Format(time.RFC3339))
	}
}

// Resources that wayside should have. With less, it still works, but for fewer clients.
const (
	descriptorsMin = 4096
	memoryMin      = 192 * configs.MiB
)

// limits reports how many connections the memory and the descriptors allow.
func (d *doctor) limits() {
	memory, descriptors := process.Resources()
	conns := d.cfg.Proxy.ConnsMax
	if descriptors < descriptorsMin {
		d.warn("descriptors", "raise the limit: LimitNOFILE in systemd, --ulimit nofile in Docker, ulimit -n in a shell",
			"a process may have %d open files, so wayside accepts at most %d client connections", descriptors, conns)
	} else {
		d.ok("descriptors", "a process may have %d open files; wayside accepts at most %d client connections", descriptors, conns)
	}
	switch {
	case memory == math.MaxInt64:
		d.skip("memory", "the limit is not known")
	case configs.Bytes(memory) < memoryMin:
		d.warn("memory", "raise the limit of the container or service to 256 MiB", "%d MiB is very little for both processes", memory>>20)
	default:
		d.ok("memory", "%d MiB for both processes", memory>>20)
	}
}

// settings lists kernel settings, each with its file and the range of values that do not limit wayside.
var settings = []struct {
	name, file  string
	least, most int64
	why, advice string
}{
	{"net.core.somaxconn", "/proc/sys/net/core/somaxconn", 1024, math.MaxInt64, "bursts of new connections are refused", "sysctl -w net.core.somaxconn=4096"},
	{"net.ipv4.tcp_abort_on_overflow", "/proc/sys/net/ipv4/tcp_abort_on_overflow", 0, 0, "connections are reset when many arrive at once", "sysctl -w net.ipv4.tcp_abort_on_overflow=0"},
	{"net.ipv4.tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog", 256, math.MaxInt64, "bursts of new connections are delayed", "sysctl -w net.ipv4.tcp_max_syn_backlog=1024"},
}

// kernel checks the kernel's version and settings.
func (d *doctor) kernel() {
	const check = "kernel"
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		release := string(bytes.TrimRight(name.Release[:], "\x00"))
		if major, minor := versionOf(release); major < 5 || major == 5 && minor < 7 {
			d.warn(check, "use Linux 5.7 or newer", "Linux %s: a shutdown can reset connections that have just been established", release)
		} else {
			d.ok(check, "Linux %s", release)
		}
	}
	for _, s := range settings {
		text, err := os.ReadFile(s.file)
		n, bad := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil || bad != nil {
			continue // the setting does not exist in this network namespace
		}
		if n < s.least || n > s.most {
			d.warn(check, s.advice, "%s is %d: %s", s.name, n, s.why)
		}
	}
}

// versionOf returns the first two numbers of a kernel release.
func versionOf(release string) (major, minor int) {
	number := func() (n int) {
		for len(release) > 0 && release[0] >= '0' && release[0] <= '9' {
			n, release = 10*n+int(release[0]-'0'), release[1:]
		}
		return n
	}
	if major = number(); len(release) > 0 {
		release = release[1:]
	}
	return major, number()
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
