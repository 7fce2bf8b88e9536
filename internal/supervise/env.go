package supervise

import (
	"slices"
	"strings"
)

// What the books process takes from the environment: where S3 credentials are found, how S3 is reached, Go's own settings, and what the
// tests of faults set. The configuration reaches it over a pipe.
var (
	childEnvPrefixes = []string{"AWS_", "MINIO_", "SSL_CERT_", "GO", "WAYSIDE_FAULT_"}
	childEnvNames    = []string{"HOME", "PATH", "TMPDIR", "TZ", "ZONEINFO", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// ChildEnv is the part of an environment that the books process gets.
func ChildEnv(environ []string) []string {
	out := []string{} // nil would be all of it
	for _, setting := range environ {
		name, _, _ := strings.Cut(setting, "=")
		if slices.Contains(childEnvNames, name) || slices.ContainsFunc(childEnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out = append(out, setting)
		}
	}
	return out
}
