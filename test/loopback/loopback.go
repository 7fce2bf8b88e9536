// Package loopback finds addresses for the servers of tests that cannot be given an open listener.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// FreeAddress returns a loopback address on which no process is listening. Its port is below the ports of outgoing connections
// (ip_local_port_range, from 32768), because otherwise an outgoing connection could occupy the port before the server listens on it,
// or while the server is being restarted. Until this process ends, no other call returns the same port, not even in another process:
// the UDP port with the same number serves as a lock.
func FreeAddress() (string, error) {
	var err error
	for range 100 {
		port := 15_000 + rand.IntN(15_000)
		var mark *net.UDPConn
		if mark, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
			continue
		}
		// Listening on the port would be a more direct check, but a process that is started at that moment inherits the listener and
		// occupies the port until it executes its program, which takes a long time on a busy machine.
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if conn, dialErr := net.Dial("tcp", addr); dialErr == nil {
			_, _ = conn.Close(), mark.Close()
			err = fmt.Errorf("a process is listening on %s", addr)
			continue
		}
		marks.Store(mark, true)
		return addr, nil
	}
	return "", err
}

// Free is [FreeAddress] for tests: an error ends the test.
func Free(t testing.TB) string {
	t.Helper()
	addr, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// marks holds references to the sockets that FreeAddress has opened, so that the garbage collector does not close them.
var marks sync.Map
