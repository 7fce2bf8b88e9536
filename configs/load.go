package configs

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wayside-proxy/wayside/internal/query"
)

// LoadOptions says where Load looks.
type LoadOptions struct {
	// File is the configuration file; empty = the one WAYSIDE_CONFIG names, and without that, none.
	File string
	// Environ holds NAME=value, as from os.Environ. Variables with an empty value count as not set.
	Environ []string
	// Flags maps a key's path (or a section's shorthand, such as data) to the value of its flag. Only flags that were
	// given belong here.
	Flags map[string]string
	// FlagNames maps a key's path to the flag that was typed for it, where that is not the key's own.
	FlagNames map[string]string
	// Kept is what [Config.Kept] said when the data directory was last run, and KeptName the file that says so. All other sources
	// are stronger.
	Kept     map[string]string
	KeptName string
	// LookupHost resolves a host name, so that an upstream that is wayside itself under another name is refused; nil: names
	// are compared only as they are written. What it cannot resolve is accepted, because that passes.
	LookupHost func(host string) ([]string, error)
}

// Load reads the configuration, fills what depends on the surroundings (service, instance, archive.url, archive.expire of an archive
// that is named, data.free_min on a small filesystem, secrets kept in files) and validates it. It reports every error it finds, each of type *Error, joined when there are several.
// A missing upstream is not an error here: see RequireUpstream.
func Load(o LoadOptions) (*Config, error) {
	if len(o.Kept) == 0 {
		return load(o, nil)
	}
	without := o
	without.Kept = nil
	now, err := Load(without)
	if err != nil {
		return nil, err
	}
	return load(o, now)
}

// load is Load; now is what it comes to without what was kept.
func load(o LoadOptions, now *Config) (*Config, error) {
	c := Default()
	c.origins = origins{}
	l := loader{keys: map[string]key{}, origins: c.origins, bad: map[string]bool{}, lines: map[string]int{}}
	for _, k := range table(&c) {
		l.keys[k.path] = k
	}
	environ := environMap(o.Environ)
	file := o.File
	if file == "" {
		file = environ["WAYSIDE_CONFIG"]
	}
	l.readEnviron(environ, defaultPrefix, SourceDefault)
	if now != nil {
		l.readKept(o.Kept, now, o.KeptName)
	}
	if file != "" {
		l.readFile(file)
	}
	l.readEnviron(environ, envPrefix, SourceEnvironment)
	l.readFlags(o.Flags, o.FlagNames)
	l.readSecrets(&c)
	resolve(&c, environ)
	c.lookup = o.LookupHost
	v := validator{c: &c, bad: l.bad, errs: l.errs}
	v.run()
	if len(v.errs) > 0 {
		return nil, join(v.errs)
	}
	return &c, nil
}

// loader sets keys and collects what goes wrong.
type loader struct {
	keys    map[string]key
	origins origins
	bad     map[string]bool // keys whose value could not be read: not worth checking further
	errs    []*Error
	lines   map[string]int // where the file sets a key
}

func (l *loader) failf(at origin, key, format string, args ...any) {
	l.errs = append(l.errs, at.error(key, fmt.Sprintf(format, args...)))
	l.bad[key] = true
}

// set stores one value given as text.
func (l *loader) set(path, value string, at origin) {
	if err := setText(l.keys[path].field, value); err != nil {
		l.failf(at, path, "%s", err)
		return
	}
	l.origins[path] = at
	delete(l.bad, path) // a stronger source has replaced a value that could not be read; its error stands
}

func environMap(environ []string) map[string]string {
	m := map[string]string{}
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && value != "" {
			m[name] = value
		}
	}
	return m
}

// serviceLink matches the variables that Kubernetes adds for every Service whose name begins with "wayside": they say
// nothing about the configuration and must not keep a pod from starting.
var serviceLink = regexp.MustCompile(`^WAYSIDE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// reservedEnv says whether a variable is not a key and yet not an error.
func reservedEnv(name, value string) bool {
	if name == "WAYSIDE_CONFIG" || strings.HasPrefix(name, "WAYSIDE_FAULT_") || strings.HasPrefix(name, "WAYSIDE_INTERNAL_") {
		return true
	}
	if !serviceLink.MatchString(name) {
		return false
	}
	// A person may well write WAYSIDE_PORT=8090; Kubernetes writes tcp://10.0.0.1:8090.
	return !strings.HasSuffix(name, "_PORT") || strings.HasSuffix(name, "_SERVICE_PORT") ||
		strings.Contains(value, "://") || strings.Contains(name, "_PORT_")
}

// defaultPrefix begins variables that stand below the file: an image sets them as its own defaults, and neither a mounted
// file nor a variable of the container has to know.
const defaultPrefix = "WAYSIDE_DEFAULT_"

// readEnviron sets keys from the variables that begin with prefix, which is defaultPrefix or that of all variables.
func (l *loader) readEnviron(environ map[string]string, prefix string, source Source) {
	paths := map[string]string{}
	for path := range l.keys {
		paths[envName(path)] = path
	}
	for section, path := range shorthand {
		paths[envName(section)] = path
	}
	setBy := map[string]string{} // key → name of the variable, because a section's shorthand is one too
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		short, ok := strings.CutPrefix(name, prefix)
		if !ok || prefix != defaultPrefix && strings.HasPrefix(name, defaultPrefix) {
			continue
		}
		value, at := environ[name], origin{source: source, name: name}
		path, ok := paths[envPrefix+short]
		before := setBy[path]
		switch {
		case ok && before != "" && environ[before] != value:
			l.failf(at, path, "%s sets it too, to another value: keep one of the two", before)
		case ok:
			setBy[path] = name
			l.set(path, value, at)
		case !reservedEnv(name, value):
			l.failf(at, "", "no such setting%s", didYouMean(envPrefix+short, slices.Collect(maps.Keys(paths))))
		}
	}
}

func (l *loader) readFlags(flags, names map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		full := path
		if long, ok := shorthand[path]; ok {
			full = long
		}
		name := cmp.Or(names[full], flagNames[full])
		if name == "" {
			name = "--" + path
		}
		at := origin{source: SourceFlag, name: name}
		if _, ok := l.keys[full]; !ok {
			l.failf(at, path, "no such key%s", didYouMean(path, slices.Collect(maps.Keys(l.keys))))
			continue
		}
		l.set(full, flags[path], at)
	}
}

// freeShare is the part of a small filesystem that data.free_min is where nobody has set it.
const freeShare = 8

// set says whether a key has been given a value.
func set(c *Config, path string) bool {
	_, ok := c.origins[path]
	return ok
}

// resolve fills what depends on the surroundings.
func resolve(c *Config, environ map[string]string) {
	const otel = "OTEL_SERVICE_NAME"
	if c.Service == "" && environ[otel] != "" {
		c.Service = environ[otel]
		c.origins["service"] = origin{source: SourceEnvironment, name: otel}
	}
	if c.Service == "" {
		c.Service = "wayside"
	}
	if c.Instance == "" {
		c.Instance, _ = os.Hostname()
	}
	if c.Instance == "" {
		c.Instance = "localhost"
	}
	fromDataDir(c)
}

// fromDataDir fills what depends on the data directory.
func fromDataDir(c *Config) {
	if disk := diskBytes(c.Data.Dir); disk > 0 && !set(c, "data.free_min") {
		c.Data.FreeMin = min(Default().Data.FreeMin, disk/freeShare)
	}
	if (c.Archive.URL == "" || !set(c, "archive.url")) && c.Data.Dir != "" {
		dir, err := filepath.Abs(c.Data.Dir)
		if err != nil { // no working directory: the path as written is the best there is
			dir = c.Data.Dir
		}
		c.Archive.URL = (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "archive"))}).String()
	} else if !set(c, "archive.expire") {
		c.Archive.Expire = 0 // an archive that somebody has named is theirs: nothing is deleted there unless they ask for it
	}
}

// didYouMean returns a hint with the nearest candidate, or where to find them all.
func didYouMean(name string, candidates []string) string {
	if best := query.Nearest(name, candidates); best != "" {
		return ": did you mean " + best + "?"
	}
	return ": `wayside config example full` lists them all"
}
