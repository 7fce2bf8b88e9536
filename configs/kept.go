package configs

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// keptPrefixes are the keys by which a data directory and its archive are read, cleaned and archived.
var keptPrefixes = []string{
	"archive.", "retention.", "report.", "prune.", "paths.", "record.", "metrics.", "collector.", "spool.", "data.", "service", "instance",
}

// targetKeys are the keys that say, beside archive.url, where the archive is and how it is reached.
var targetKeys = []string{
	"archive.endpoint", "archive.region", "archive.path_style", "archive.ca_file", "archive.access_key_file", "archive.secret_key_file",
}

// Kept are the keys that a later command on the same data directory needs and that are not at their default, by path, as text: for
// [LoadOptions.Kept]. No secret is among them, only the names of files with secrets.
func (c *Config) Kept() map[string]string {
	kept, standard := map[string]string{}, Default()
	own := *c
	own.Archive.URL, own.origins = "", nil
	fromDataDir(&own)
	if c.Archive.URL != own.Archive.URL {
		standard.Archive.Expire = 0 // as fromDataDir has it
	}
	from := table(&standard)
	for i, k := range table(c) {
		_, secret := k.field.(*Secret)
		same := reflect.DeepEqual(reflect.ValueOf(k.field).Elem().Interface(), reflect.ValueOf(from[i].field).Elem().Interface())
		switch {
		case secret || same || !hasAnyPrefix(k.path, keptPrefixes) || k.path == "data.dir":
		case k.path == "archive.url" && c.Archive.URL == own.Archive.URL: // follows the data directory, wherever that is moved
		case k.path == "data.free_min" && c.Data.FreeMin == own.Data.FreeMin: // follows the disk
		case strings.HasSuffix(k.path, "_file"):
			if path, err := filepath.Abs(text(k.field)); err == nil {
				kept[k.path] = path
			}
		default:
			kept[k.path] = text(k.field)
		}
	}
	return kept
}

// readKept sets what the data directory was last run with: everything that is said now is stronger. What belongs to another archive
// than the one that is named now is left out. Keys of another version are passed over.
func (l *loader) readKept(kept map[string]string, now *Config, name string) {
	elsewhere := set(now, "archive.url") && now.origins["archive.url"].source != SourceDefault && now.Archive.URL != kept["archive.url"]
	for path, value := range kept {
		if _, known := l.keys[path]; !known || elsewhere && slices.Contains(targetKeys, path) {
			continue
		}
		l.set(path, value, origin{source: SourceDefault, name: name})
	}
}

// FromEnvironment returns the name of what set a key, if that is neither a flag nor the file that the command line names.
func (c *Config) FromEnvironment(path string) (name string, ok bool) {
	at := c.origins[path]
	return at.name, at.source == SourceEnvironment
}
