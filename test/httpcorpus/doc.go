// Package httpcorpus holds messages that try to make two HTTP implementations disagree about where a message ends: requests
// that a proxy must not pass on, and responses that it must not believe. Tests and fuzz targets share it.
//
// It is written from the grammar of RFC 9110 and RFC 9112, one rule after the other, with the variations that are known to
// have divided servers. Nothing in the proxy knows it.
package httpcorpus

// Canary is the path that smuggled requests ask for, and the text that smuggled responses hold. It must never arrive.
const Canary = "/canary"

// Smuggled is the request that a hostile one tries to carry past the proxy.
const Smuggled = "GET " + Canary + " HTTP/1.1\r\nHost: canary\r\nX-Canary: 1\r\n\r\n"

// Request is a hostile request.
type Request struct {
	Name   string
	Raw    string // what is sent; Smuggled follows on the wire, or is part of it
	Status int    // what it is refused with; 0 = it has one meaning only and is served
}

// Response is a hostile response.
type Response struct {
	Name string
	Raw  string
	// Late is set where the fault comes after the header: the client has the status already, and must see the response
	// cut short.
	Late bool
}
