package http1

import "errors"

// Errors about messages.
var (
	ErrSyntax      = errors.New("malformed header field")
	ErrFraming     = errors.New("ambiguous message framing")
	ErrTarget      = errors.New("bad request target")
	ErrVersion     = errors.New("unknown protocol version")
	ErrMethod      = errors.New("method not supported")
	ErrExpectation = errors.New("unknown expectation")
	ErrHeaderSize  = errors.New("request header too large")
	ErrTargetSize  = errors.New("request target too long")
	ErrBody        = errors.New("malformed message body") // not framed as the header says (RFC 9112, section 7)
	ErrResponse    = errors.New("bad response from upstream")

	errContentLength = errors.New("bad content-length")
)
