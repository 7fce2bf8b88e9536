package admin

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkProtect sets the fields of a response that is reused, as fasthttp does.
func BenchmarkProtect(b *testing.B) {
	var resp fasthttp.Response
	for b.Loop() {
		resp.Reset()
		protect(&resp)
	}
}
