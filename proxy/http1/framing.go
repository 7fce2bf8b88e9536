package http1

// This file determines where the body of a message ends.

// Framing describes where a message's body ends, according to its header.
type Framing struct {
	Length  int64 // Content-Length; -1 if there is none
	Chunked bool  // Transfer-Encoding: chunked
}

// contentLength records a Content-Length. A second one is an error, even if it has the same value, and so is anything but digits.
func (f *Framing) contentLength(value []byte) error {
	if f.Length >= 0 {
		return ErrFraming
	}
	n, err := parseLength(value)
	f.Length = n
	return err
}

// transferEncoding records a Transfer-Encoding, which must be "chunked" and may occur only once.
func (f *Framing) transferEncoding(value []byte) error {
	if f.Chunked || !foldEqual(value, "chunked") {
		return ErrFraming
	}
	f.Chunked = true
	return nil
}

// plainLength removes leading zeros from a Content-Length: a server that reads them as octal would see another length.
func plainLength(value []byte) []byte {
	for len(value) > 1 && value[0] == '0' {
		value = value[1:]
	}
	return value
}

func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 {
		return -1, errContentLength
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1, errContentLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
