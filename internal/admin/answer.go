package admin

import (
	"encoding/json"
	"errors"
	"net"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/secure"
)

const textPlain = "text/plain; charset=utf-8"

// protected holds the fields that every response has. Responses get a copy of it, because setting the fields one by one takes six times
// as long.
var protected = func() *fasthttp.ResponseHeader {
	var h fasthttp.ResponseHeader
	h.SetNoDefaultContentType(true) // as in httpServer: a copy includes this setting
	for _, field := range secure.Fields {
		h.Set(field[0], field[1])
	}
	return &h
}()

// protect sets the fields that every response has. It must be called first, because it removes all other fields.
func protect(resp *fasthttp.Response) { protected.CopyTo(&resp.Header) }

func answerJSON(resp *fasthttp.Response, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, body = fasthttp.StatusInternalServerError, []byte(`{"error":"cannot encode the response"}`)
	}
	sendJSON(resp, status, body)
}

func sendJSON(resp *fasthttp.Response, status int, body []byte) {
	resp.SetStatusCode(status)
	resp.Header.SetContentType("application/json; charset=utf-8")
	resp.Header.Set("Cache-Control", "no-store")
	resp.SetBodyRaw(append(body, '\n'))
}

// refuse makes resp an error response, in the same form as in the books process: JSON on one line.
func refuse(resp *fasthttp.Response, status int, reason string) {
	body, _ := json.Marshal(map[string]string{"error": reason}) // cannot fail for a string
	sendJSON(resp, status, body)
}

// answerText makes resp a text response that clients must not cache.
func answerText(resp *fasthttp.Response, status int, text string) {
	resp.SetStatusCode(status)
	resp.Header.SetContentType(textPlain)
	resp.Header.Set("Cache-Control", "no-store")
	resp.SetBodyString(text)
}

// refuseMalformed responds to a request that could not be parsed.
func refuseMalformed(ctx *fasthttp.RequestCtx, err error) {
	resp := &ctx.Response
	protect(resp)
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		refuse(resp, fasthttp.StatusRequestHeaderFieldsTooLarge, "the header is too long")
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		refuse(resp, fasthttp.StatusRequestEntityTooLarge, "the body is too long")
	case errors.As(err, &network) && network.Timeout():
		refuse(resp, fasthttp.StatusRequestTimeout, "the request did not arrive in time")
	default:
		refuse(resp, fasthttp.StatusBadRequest, "this is not a valid HTTP request")
	}
}
