// Package secure holds the fields that every answer of the admin endpoint has, whichever process gives it: they keep a browser
// from doing anything with an answer but what it is for.
package secure

import "net/http"

// policy allows what the dashboard's own files need and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Fields are names and values, in the canonical form of names.
var Fields = [...][2]string{
	{"Content-Security-Policy", policy},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
}

// Handler sets the fields before next answers.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		for _, field := range Fields {
			head.Set(field[0], field[1])
		}
		next.ServeHTTP(w, r)
	})
}
