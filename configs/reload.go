package configs

import (
	"reflect"
	"slices"
	"strings"
)

// restartPrefixes select the keys that a running process cannot change, because it has already opened or built something with their values.
var restartPrefixes = []string{"listen", "redirect_http", "data.dir", "admin.", "log.format", "log.access", "spool.", "proxy.driver", "collector.enabled"}

// trafficPrefixes select the keys that the books process never gets; see [Config.ForBooks]. A change to any other key restarts that
// process. If a traffic key is missing from this list, a change to it restarts the books process unnecessarily. If a key that the books
// process needs is listed here, the books process always sees the key's default.
var trafficPrefixes = []string{"upstream", "routes", "tls.", "proxy_protocol", "shutdown.", "proxy.", "record.exclude.", "record.client_address"}

// Effect says when a running wayside applies a new value of a key.
type Effect string

// The effects of a reload.
const (
	EffectAtOnce  Effect = "at once"                    // applies to requests that begin after the reload
	EffectBooks   Effect = "the books process restarts" // with the new value; the traffic process does not wait for that
	EffectRestart Effect = "needs a restart"            // the old value remains in effect until `wayside run` is restarted
)

func effectOf(path string) Effect {
	switch {
	case hasAnyPrefix(path, restartPrefixes):
		return EffectRestart
	case hasAnyPrefix(path, trafficPrefixes):
		return EffectAtOnce
	}
	return EffectBooks
}

// ForBooks returns the configuration for the books process. Keys that concern only traffic have their defaults.
func (c *Config) ForBooks() *Config {
	books, standard := *c, Default()
	from := table(&standard)
	for i, k := range table(&books) {
		if effectOf(k.path) == EffectAtOnce {
			reflect.ValueOf(k.field).Elem().Set(reflect.ValueOf(from[i].field).Elem())
		}
	}
	books.Admin.Token, books.TLS = "", TLS{} // includes the contents of files; the books process has no listener
	return &books
}

// Change lists the keys whose values have changed, by their effect.
type Change struct {
	Traffic []string // in effect immediately
	Books   []string // in effect when the books process has restarted
	Restart []string // in effect when `wayside run` is restarted
}

// Reload compares the current configuration with a new one. It returns the configuration to apply: the new one, but with the old values of
// the keys that need a restart.
func Reload(now, next *Config) (*Config, Change) {
	var change Change
	merged := *next
	if merged.Data.Dir != now.Data.Dir { // the values that depend on it also keep their old values
		change.Restart = append(change.Restart, "data.dir")
		merged.Data.Dir = now.Data.Dir
		fromDataDir(&merged)
	}
	otherListener := merged.TLS.Enabled() != now.TLS.Enabled() // a running listener cannot start or stop using TLS
	before, after := table(now), table(&merged)
	for i, k := range after {
		old := reflect.ValueOf(before[i].field).Elem()
		field := reflect.ValueOf(k.field).Elem()
		if reflect.DeepEqual(old.Interface(), field.Interface()) {
			continue
		}
		switch effect := effectOf(k.path); {
		case effect == EffectRestart, otherListener && strings.HasPrefix(k.path, "tls."):
			change.Restart = append(change.Restart, k.path)
			field.Set(old)
		case effect == EffectBooks:
			change.Books = append(change.Books, k.path)
		default:
			change.Traffic = append(change.Traffic, k.path)
		}
	}
	if otherListener {
		merged.TLS = now.TLS
	}
	change.contents(now, &merged)
	slices.Sort(change.Books)
	return &merged, change
}

// contents adds the keys whose files have the same names as before but different contents. The comparison of groups and routes already covers
// their files.
func (change *Change) contents(now, next *Config) {
	add := func(list *[]string, path string, changed bool) {
		if changed && !slices.Contains(*list, path) && !slices.Contains(change.Restart, path) {
			*list = append(*list, path)
		}
	}
	add(&change.Books, "archive.access_key_file", next.Archive.AccessKey != now.Archive.AccessKey)
	add(&change.Books, "archive.secret_key_file", next.Archive.SecretKey != now.Archive.SecretKey)
	add(&change.Books, "archive.ca_file", next.Archive.CA != now.Archive.CA)
	add(&change.Books, "otlp.headers_file", next.OTLP.Headers != now.OTLP.Headers)
	add(&change.Books, "otlp.ca_file", next.OTLP.CA != now.OTLP.CA)
	add(&change.Traffic, "tls.client_ca_file", next.TLS.ClientCA != now.TLS.ClientCA)
	add(&change.Traffic, "tls.acme.ca_file", next.TLS.ACME.CA != now.TLS.ACME.CA)
}

func hasAnyPrefix(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}
