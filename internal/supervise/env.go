package supervise

import (
	"slices"
	"strings"
)

// Environment variables that the books process needs: those for finding S3 credentials, for reaching S3, for Go's runtime, and for fault
// tests. The configuration is sent over a pipe.
var (
	childEnvPrefixes = []string{"AWS_", "MINIO_", "SSL_CERT_", "GO", "WAYSIDE_FAULT_"}
	childEnvNames    = []string{"HOME", "PATH", "TMPDIR", "TZ", "ZONEINFO", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// ChildEnv returns the part of an environment that is passed on to the books process.
func ChildEnv(environ []string) []string {
	out := []string{} // nil would pass on the whole environment
	for _, setting := range environ {
		name, _, _ := strings.Cut(setting, "=")
		if slices.Contains(childEnvNames, name) || slices.ContainsFunc(childEnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out = append(out, setting)
		}
	}
	return out
}
