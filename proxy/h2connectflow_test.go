package proxy

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// pour sends data on stream 1 as fast as the window allows, and calls blocked when the window has been closed for a second. It returns
// when it has sent as many bytes as blocked has returned, or when the proxy has reset the stream. While it runs, it alone reads.
func (c *h2Client) pour(window int64, blocked func(sent int64) (most int64)) (sent int64) {
	c.t.Helper()
	opened := make(chan int64)
	go func() {
		defer close(opened)
		for {
			f, err := c.f.ReadFrame()
			if err != nil || f.Header().StreamID == 1 && f.Header().Type != xhttp2.FrameWindowUpdate {
				return
			}
			if f, ok := f.(*xhttp2.WindowUpdateFrame); ok && f.StreamID == 1 {
				opened <- int64(f.Increment)
			}
		}
	}()
	defer func() {
		for range opened {
		}
	}()
	piece, most, stopped := make([]byte, 16<<10), int64(64<<20), false
	for sent < most {
		for window < int64(len(piece)) {
			select {
			case n, ok := <-opened:
				if !ok {
					return sent
				}
				window += n
				continue
			case <-time.After(time.Second): // the kernel's buffers are full
			}
			if !stopped {
				stopped, most = true, blocked(sent)
			}
		}
		c.ok(c.f.WriteData(1, false, piece))
		sent, window = sent+int64(len(piece)), window-int64(len(piece))
	}
	c.ok(c.f.WriteData(1, true, nil))
	return sent
}

// window returns the window of a stream that the proxy announces.
func (c *h2Client) window() int64 {
	c.t.Helper()
	n, _ := c.next(xhttp2.FrameSettings).(*xhttp2.SettingsFrame).Value(xhttp2.SettingInitialWindowSize)
	return int64(n)
}

// TestExtendedConnectBackPressure: the proxy accepts only as much as the windows allow while the other side does not read.
func TestExtendedConnectBackPressure(t *testing.T) {
	release, sums := make(chan struct{}), make(chan int64, 1)
	b := start(t, webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) {
		<-release
		n, _ := io.Copy(io.Discard, br)
		sums <- n
	}), nil)
	b.responses = 1
	c := b.dialH2()
	window := c.window()
	c.tunnel(1)
	sent := c.pour(window, func(sent int64) int64 {
		if held := b.p.held.Load(); held > window+16<<10 {
			t.Errorf("%d bytes are held, the window has %d", held, window)
		}
		close(release)
		return sent + 1<<20
	})
	if n := <-sums; n != sent {
		t.Errorf("%d bytes arrived, sent %d", n, sent)
	}
	if e := b.books.wait(t, 1)[0]; e.RequestBytes != uint64(sent) || len(e.ErrorType) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestExtendedConnectWithoutMemory: if there is no room for the data of a tunnel, the tunnel ends when the data before it has been
// delivered, and the record says why.
func TestExtendedConnectWithoutMemory(t *testing.T) {
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	url := webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) {
		<-released
		_, _ = io.Copy(io.Discard, br)
	})
	t.Cleanup(release)
	b := start(t, url, func(o *Options) { o.MaxHeldBytes = 16 << 10 })
	b.responses = 1
	c := b.dialH2()
	window := c.window()
	c.tunnel(1)
	c.pour(window, func(int64) int64 {
		release()
		return 64 << 20
	})
	if e := b.books.wait(t, 1)[0]; e.Status != 101 || string(e.ErrorType) != "memory_max" {
		t.Errorf("%+v", e)
	}
}

// TestIdleTunnelHoldsNothing: a tunnel does not keep the buffer that a burst needed.
func TestIdleTunnelHoldsNothing(t *testing.T) {
	got := make(chan struct{})
	b := start(t, webSocketOrigin(t, switching, func(_ *net.TCPConn, br *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, br, 48000)
		close(got)
		_, _ = io.Copy(io.Discard, br)
	}), nil)
	b.responses = 1
	c := b.dialH2()
	c.tunnel(1)
	for range 3 {
		c.ok(c.f.WriteData(1, false, make([]byte, 16000)))
	}
	<-got
	until(t, "no memory is counted", func() bool { return b.p.held.Load() == 0 })
}
