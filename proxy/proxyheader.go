package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/wayside-proxy/wayside/proxy/proxyproto"
)

// This file receives the PROXY header, which precedes the client's first byte and in which a balancer names the client. The header must
// arrive within HeaderTimeout. A connection whose header is missing or wrong is closed without a response.

// receiveHeader reads the header on a connection without TLS. It reports whether requests may follow.
func (c *clientConn) receiveHeader() bool {
	for n := 1; ; {
		_, err := c.br.Peek(n)
		b, _ := c.br.Peek(c.br.Buffered()) // cannot fail
		h, length, malformed := proxyproto.Parse(b)
		switch {
		case malformed == nil:
			_, _ = c.br.Discard(length)
			if f := c.announce(h); f != failNone {
				if f != failGaveWay && c.phase.CompareAndSwap(uint32(phaseHeader), uint32(phaseBody)) {
					c.warn(f)
					c.rejectNow(f)
				}
				return false
			}
			if c.br.Buffered() == 0 { // the client itself has not sent anything yet
				c.phase.CompareAndSwap(uint32(phaseHeader), uint32(phaseNew))
			}
			return true
		case !errors.Is(malformed, proxyproto.ErrIncomplete), errors.Is(err, bufio.ErrBufferFull):
			c.headerFailed(malformed)
			return false
		case err != nil:
			c.headerFailed(headerCut(err, len(b)))
			return false
		}
		n = len(b) + 1
	}
}

// sniffHeader reads the header on a connection on which TLS follows.
func (c *clientConn) sniffHeader(w *tlsWire) error {
	for {
		err := w.sniff(proxyproto.BytesMax)
		h, n, malformed := proxyproto.Parse(w.unread)
		switch {
		case malformed == nil:
			w.unread = w.unread[n:]
			if f := c.announce(h); f != failNone {
				c.warn(f)
				c.root.metrics.own.failed[f].Add(1)
				return fmt.Errorf("%w: %s", errNoRoom, f)
			}
			return nil
		case !errors.Is(malformed, proxyproto.ErrIncomplete):
			c.headerFailed(malformed)
			return errHeaderFailed
		case err != nil:
			c.headerFailed(headerCut(err, len(w.unread)))
			return errHeaderFailed
		}
	}
}

var (
	errHeaderFailed = errors.New("no PROXY header") // has already been counted and logged
	errNoRoom       = errors.New("there is no room for another connection of this client")
)

// headerCut returns the error for a connection that ended after n bytes of the header. It returns nil if the connection only checked
// whether a process is listening.
func headerCut(err error, n int) error {
	switch {
	case isTimeout(err):
		return fmt.Errorf("no PROXY header within proxy.header_timeout: %w", os.ErrDeadlineExceeded)
	case n == 0:
		return nil
	case errors.Is(err, io.EOF):
		return proxyproto.ErrIncomplete
	}
	return err
}

// announce applies the addresses in a header, and counts the connection as one of the client's. If there is no room for it, announce returns the
// reason.
func (c *clientConn) announce(h proxyproto.Header) failure {
	c.headerDue = false
	if !h.Local {
		c.source, c.port = h.Source.Addr(), h.Destination.Port()
	}
	return c.root.admission.readmit(c)
}

// readmit counts an admitted connection under a different address.
func (a *admission) readmit(c *clientConn) failure {
	p := a.p
	p.mu.Lock()
	defer a.unlockAndClose()
	c.useGeneration(c.gen)
	if !c.share.admitted { // the connection has just given way
		return failGaveWay
	}
	a.remove(c)
	c.share.account = nil
	return a.admitLocked(c)
}

// headerFailed counts a connection without a valid header, and logs it at most once per warnPause.
func (c *clientConn) headerFailed(err error) {
	c.failed.Store(true)
	if err == nil || c.gaveWay.Load() {
		return
	}
	p := c.root
	p.metrics.badHeaders.Add(1)
	p.mu.Lock()
	due := p.badHeaderAt.IsZero() || time.Since(p.badHeaderAt) >= warnPause
	if due {
		p.badHeaderAt = time.Now()
	}
	p.mu.Unlock()
	if due {
		addr, _ := peerAddr(c.Conn)
		c.gen.o.Logger.Warn("a connection from a network in proxy_protocol has no valid PROXY header; closing it", "error", err, "balancer", addr.String())
	}
}
