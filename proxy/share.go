package proxy

import (
	"net/netip"
	"sync/atomic"
)

// share is one connection's share of the resources that all clients share, and the account to which it is charged. The bytes in its
// buffers are counted in the account and in total. release subtracts the bytes that hold has added.
type share struct {
	total     *atomic.Int64 // Proxy.held
	silent    *atomic.Int64 // Proxy.silent
	bytesMax  int64         // Options.MaxHeldBytes; 0 means no limit
	trusted   bool          // the peer is a trusted proxy, which has no limit because it represents many clients
	key       netip.Addr    // the key in admission.accounts; see limitKey
	account   *account      // the account of this address; nil if there is none
	admitted  bool          // guarded by Proxy.mu
	displaced bool          // guarded by Proxy.mu
	held      int64         // bytes that hold has added; belongs to the task that serves the connection
}

// limits returns the account whose share limits the connection, or nil.
func (s *share) limits() *account {
	if s.trusted {
		return nil
	}
	return s.account
}

// hold adds n bytes to the count of the connection's buffers, and reports whether the connection may have them. release subtracts all of
// them.
func (s *share) hold(n int64) bool {
	if n <= 0 {
		return true
	}
	if !s.reserve(n) {
		return false
	}
	s.held += n
	return true
}

// release subtracts the bytes that hold has added.
func (s *share) release() {
	s.unreserve(s.held)
	s.held = 0
}

// reserve is like hold, except that the caller must subtract the bytes with unreserve.
func (s *share) reserve(n int64) bool {
	if s.account == nil {
		return true
	}
	total, uses := s.total.Add(n), s.account.held.Add(n)
	if s.bytesMax > 0 && (total > s.bytesMax || !s.trusted && !mayUse(uses-n, n, total-n, s.bytesMax)) {
		s.unreserve(n)
		return false
	}
	return true
}

func (s *share) unreserve(n int64) {
	if s.account != nil && n > 0 {
		s.total.Add(-n)
		s.account.held.Add(-n)
	}
}
