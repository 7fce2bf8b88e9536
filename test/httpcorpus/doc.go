// Package httpcorpus contains messages for which two HTTP implementations may disagree about where the message ends: requests that a
// proxy must not pass on, and responses that it must not accept. They are used by tests and fuzz targets.
//
// The messages follow the grammar of RFC 9110 and RFC 9112, rule by rule, with variations that are known to be handled differently by
// different servers. The proxy's code does not use this package.
package httpcorpus

// Canary is the path of smuggled requests and the text in smuggled responses. It must never arrive.
const Canary = "/canary"

// Smuggled is the request that a hostile request tries to smuggle through the proxy.
const Smuggled = "GET " + Canary + " HTTP/1.1\r\nHost: canary\r\nX-Canary: 1\r\n\r\n"

// Request is a hostile request.
type Request struct {
	Name   string
	Raw    string // the bytes to send; Smuggled is part of them or follows them
	Status int    // status of the rejection; 0 if the request has only one meaning and is served
}

// Response is a hostile response.
type Response struct {
	Name string
	Raw  string
	// Late means that the fault comes after the header. In that case, the client already has the status, and must notice that the
	// response is incomplete.
	Late bool
}
