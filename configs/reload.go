package configs

import (
	"reflect"
	"strings"
)

// restartPrefixes are the keys that a running process cannot take over: what it has opened, and what it was built with.
var restartPrefixes = []string{"listen", "data.dir", "admin.", "log.format", "log.access", "spool.", "collector.enabled"}

// booksPrefixes are the keys that only the books process reads.
var booksPrefixes = []string{"service", "instance", "data.bytes_max", "data.free_min", "collector.", "paths.", "archive.", "retention."}

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
	before, after := table(now), table(&merged)
	for i, k := range after {
		old := reflect.ValueOf(before[i].field).Elem()
		field := reflect.ValueOf(k.field).Elem()
		if reflect.DeepEqual(old.Interface(), field.Interface()) {
			continue
		}
		switch {
		case hasAnyPrefix(k.path, restartPrefixes):
			change.Restart = append(change.Restart, k.path)
			field.Set(old)
		case hasAnyPrefix(k.path, booksPrefixes):
			change.Books = append(change.Books, k.path)
		default:
			change.Traffic = append(change.Traffic, k.path)
		}
	}
	if merged.Archive.AccessKey != now.Archive.AccessKey || merged.Archive.SecretKey != now.Archive.SecretKey {
		change.Books = append(change.Books, "archive.secret_key_file") // the same file, with another key in it
	}
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
