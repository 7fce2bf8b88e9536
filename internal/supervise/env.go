package supervise

import (
	"slices"
	"strings"
)

// Environment variables that the books process needs: where S3 credentials are, how to reach S3, the settings of Go's
// runtime, and those of fault tests. Its configuration comes over a pipe.
var (
	childEnvPrefixes = []string{"AWS_", "MINIO_", "SSL_CERT_", "GO", "WAYSIDE_FAULT_"}
	childEnvNames    = []string{"HOME", "PATH", "TMPDIR", "TZ", "ZONEINFO", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// ChildEnv returns the part of an environment that the books process gets.
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
