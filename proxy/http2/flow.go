package http2

// This file contains the windows of flow control (RFC 9113, sections 5.2 and 6.9). The connection and each stream have one window in each
// direction.

// sendWindow is how many bytes this side may send. A smaller initial window can make it negative (RFC 9113, section 6.9.2).
type sendWindow int64

// grow changes the window, and reports whether the result is allowed.
func (w *sendWindow) grow(more int64) bool {
	*w += sendWindow(more)
	return *w <= windowMax
}

// recvWindow is how many bytes the peer may send. Its size is the sum of three amounts: left, which the peer may still send; returned,
// which has been used and can be given back to the peer; and the rest, which has arrived and is still in use.
type recvWindow struct {
	size, left, returned int
}

func newRecvWindow(size int) recvWindow { return recvWindow{size: size, left: size} }

// take records that n bytes have arrived, and reports whether the window allowed them.
func (w *recvWindow) take(n int) bool {
	w.left -= n
	return w.left >= 0
}

// giveBack records that n bytes are no longer in use. It returns the number of bytes by which a WINDOW_UPDATE must enlarge the peer's
// window now. It returns 0 for small amounts, which are collected so that the peer does not receive a frame for every few bytes.
func (w *recvWindow) giveBack(n int) (more int) {
	if w.returned += n; w.returned < w.size/2 {
		return 0
	}
	more, w.returned = w.returned, 0
	w.left += more
	return more
}
