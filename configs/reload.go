package configs

import (
	"reflect"
	"slices"
	"strings"
)

// restartPrefixes are the keys that a running process cannot take over: what it has opened, and what it was built with.
var restartPrefixes = []string{"listen", "data.dir", "admin.", "log.format", "log.access", "spool.", "collector.enabled"}

// trafficPrefixes are the keys that the books process never sees, see [Config.ForBooks]. Every other key is handed to it, and
// so makes it start again when it changes: a key that is forgotten here restarts the books process for nothing, and one that
// the books process needs and that is listed here has its default there from the start.
var trafficPrefixes = []string{"upstream", "shutdown.", "proxy.", "record.exclude.", "record.client_address"}

// Effect says when a running wayside takes over a new value of a key.
type Effect string

// The effects of a reload.
const (
	EffectAtOnce  Effect = "at once"                    // for requests that begin from now on
	EffectBooks   Effect = "the books process restarts" // and has it from then on; where traffic needs it too, that has it at once
	EffectRestart Effect = "needs a restart"            // the former value stays until wayside run is started again
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

// ForBooks is the configuration that the books process is given: the keys that only concern traffic have their defaults.
func (c *Config) ForBooks() *Config {
	books, standard := *c, Default()
	from := table(&standard)
	for i, k := range table(&books) {
		if effectOf(k.path) == EffectAtOnce {
			reflect.ValueOf(k.field).Elem().Set(reflect.ValueOf(from[i].field).Elem())
		}
	}
	books.Admin.Token = "" // its listener is the traffic process's
	return &books
}

// Change is what a new configuration differs in, by key.
type Change struct {
	Traffic []string // takes effect at once
	Books   []string // takes effect when the books process starts with it
	Restart []string // takes effect when wayside run is started again
}

// Reload compares the configuration in effect with a new one and returns the one to put into effect: the new one, with
// the keys that need a restart as they were.
func Reload(now, next *Config) (*Config, Change) {
	var change Change
	merged := *next
	if merged.Data.Dir != now.Data.Dir { // what depends on it stays as well
		change.Restart = append(change.Restart, "data.dir")
		merged.Data.Dir = now.Data.Dir
		fromDataDir(&merged)
	}
	before, after := table(now), table(&merged)
	for i, k := range after {
		old := reflect.ValueOf(before[i].field).Elem()
		field := reflect.ValueOf(k.field).Elem()
		if reflect.DeepEqual(old.Interface(), field.Interface()) {
			continue
		}
		switch effectOf(k.path) {
		case EffectRestart:
			change.Restart = append(change.Restart, k.path)
			field.Set(old)
		case EffectBooks:
			change.Books = append(change.Books, k.path)
		case EffectAtOnce:
			change.Traffic = append(change.Traffic, k.path)
		}
	}
	// The same files, with something else in them.
	for path, changed := range map[string]bool{
		"archive.access_key_file": merged.Archive.AccessKey != now.Archive.AccessKey,
		"archive.secret_key_file": merged.Archive.SecretKey != now.Archive.SecretKey,
		"archive.ca_file":         merged.Archive.CA != now.Archive.CA,
	} {
		if changed && !slices.Contains(change.Books, path) {
			change.Books = append(change.Books, path)
		}
	}
	slices.Sort(change.Books)
	return &merged, change
}

func hasAnyPrefix(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}
