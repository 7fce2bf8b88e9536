// Package secure defines the header fields that every response of the admin listener has, whichever process sends the response. They keep
// a browser from using a response for anything other than its purpose.
package secure

import "net/http"

// policy allows only the resources that the dashboard's own files need.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Fields holds the names, in canonical form, and the values of the fields.
var Fields = [...][2]string{
	{"Content-Security-Policy", policy},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
}

// Handler sets the fields before it calls next.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		for _, field := range Fields {
			head.Set(field[0], field[1])
		}
		next.ServeHTTP(w, r)
	})
}
