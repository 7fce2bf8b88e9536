package configs

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// lastRunPrefixes select the keys that commands need for reading, cleaning up and archiving a data directory.
var lastRunPrefixes = []string{
	"archive.", "retention.", "report.", "prune.", "paths.", "record.", "metrics.", "collector.", "spool.", "data.", "service", "instance",
}

// LastRunKeys returns the keys that a later command on the same data directory needs, except those at their default. It maps the path of
// each key to its value as text, for [LoadOptions.LastRun]. The values contain no secrets, but only the names of files with secrets.
func (c *Config) LastRunKeys() map[string]string {
	keys, standard := map[string]string{}, Default()
	own := *c
	own.Archive.URL, own.origins = "", nil
	fromDataDir(&own)
	if c.Archive.URL != own.Archive.URL {
		standard.Archive.Expire = 0 // the default that fromDataDir sets for such an archive
	}
	from := table(&standard)
	for i, k := range table(c) {
		_, secret := k.field.(*Secret)
		same := reflect.DeepEqual(reflect.ValueOf(k.field).Elem().Interface(), reflect.ValueOf(from[i].field).Elem().Interface())
		switch {
		case secret || same || !hasAnyPrefix(k.path, lastRunPrefixes) || k.path == "data.dir":
		case k.path == "archive.url" && c.Archive.URL == own.Archive.URL: // the default, which depends on the data directory
		case k.path == "data.free_min" && c.Data.FreeMin == own.Data.FreeMin: // the default, which depends on the disk
		case strings.HasSuffix(k.path, "_file"):
			if path, err := filepath.Abs(text(k.field)); err == nil {
				keys[k.path] = path
			}
		default:
			keys[k.path] = text(k.field)
		}
	}
	return keys
}

// readLastRun sets the keys of the last run, before all other sources are read. If the archive has changed, it omits the keys of the
// former archive. It ignores keys that are unknown to this version.
func (l *loader) readLastRun(keys map[string]string, now *Config, name string) {
	otherArchive := set(now, "archive.url") && now.origins["archive.url"].source != SourceDefault && now.Archive.URL != keys["archive.url"]
	for path, value := range keys {
		if _, known := l.keys[path]; !known || otherArchive && slices.Contains(s3Keys, path) {
			continue
		}
		l.set(path, value, origin{source: SourceDefault, name: name})
	}
}

// FromEnvironment returns the environment variable that has set a key. ok is false if no variable has set it.
func (c *Config) FromEnvironment(path string) (name string, ok bool) {
	at := c.origins[path]
	return at.name, at.source == SourceEnvironment
}
