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

// LoadOptions are the sources from which Load reads.
type LoadOptions struct {
	// File is the configuration file. If it is empty, WAYSIDE_CONFIG names the file; if that is not set either, there is no file.
	File string
	// Environ contains NAME=value entries, in the form of os.Environ. A variable with an empty value counts as not set.
	Environ []string
	// Flags maps the path of a key (or a section's shorthand, such as data) to the value of its flag. It contains only the flags on the
	// command line.
	Flags map[string]string
	// FlagNames maps the path of a key to the flag that was given for it, if that has a different name. It is used in errors.
	FlagNames map[string]string
	// LastRun is the result of [Config.LastRunKeys] from the last run on the data directory, and LastRunFile is the file that contains it.
	// All other sources take precedence over it.
	LastRun     map[string]string
	LastRunFile string
	// LookupHost resolves a host name. It is used to reject an upstream that is wayside itself under a different name. If it is nil,
	// names are only compared as text. A name that cannot be resolved is accepted, because it may be resolvable later.
	LookupHost func(host string) ([]string, error)
	// TrafficFiles makes Load read and check the files that only the traffic process needs: certificates, users, bodies of responses.
	// Commands that work on the books do not set it, because an expired certificate must not prevent them from running.
	TrafficFiles bool
}

// Load reads the configuration, fills in the values that depend on the environment (service, instance, archive.url, archive.expire for a named
// archive, data.free_min on a small filesystem, secrets in files) and validates it. It reports all errors, each of type *Error, joined if
// there are several. A missing upstream is not an error here: see RequireUpstream.
func Load(o LoadOptions) (*Config, error) {
	if len(o.LastRun) == 0 {
		return load(o, nil)
	}
	without := o
	without.LastRun = nil
	now, err := Load(without)
	if err != nil {
		return nil, err
	}
	return load(o, now)
}

// load does the work of Load. now is the configuration without LastRun; if it is nil, LastRun is not used.
func load(o LoadOptions, now *Config) (*Config, error) {
	c := Default()
	l := newLoader(&c)
	environ := environMap(o.Environ)
	file := o.File
	if file == "" {
		file = environ["WAYSIDE_CONFIG"]
	}
	l.readEnviron(environ, defaultPrefix, SourceDefault)
	if now != nil {
		l.readLastRun(o.LastRun, now, o.LastRunFile)
	}
	if file != "" {
		l.readFile(file)
	}
	l.readEnviron(environ, envPrefix, SourceEnvironment)
	l.readFlags(o.Flags, o.FlagNames)
	l.readSecrets(&c)
	l.oneCertificate(&c)
	if o.TrafficFiles {
		l.readTrafficFiles(&c)
	}
	resolve(&c, environ)
	c.lookup = limitLookups(o.LookupHost)
	v := validator{c: &c, bad: l.bad, errs: l.errs}
	v.run()
	if err := join(v.errs); err != nil {
		return nil, err
	}
	return &c, nil
}

// lookupsMax limits the number of names that one load looks up, because each lookup can take as long as the name server's timeout.
const lookupsMax = 16

// limitLookups returns a lookup function that caches results and looks up at most lookupsMax names.
func limitLookups(lookup func(string) ([]string, error)) func(string) ([]string, error) {
	if lookup == nil {
		return nil
	}
	known := map[string][]string{}
	return func(host string) ([]string, error) {
		if found, ok := known[host]; ok || len(known) >= lookupsMax {
			return found, nil
		}
		found, err := lookup(host)
		known[host] = found
		return found, err
	}
}

// loader sets keys and collects errors.
type loader struct {
	keys    map[string]key
	within  string // path of the element that contains the keys, with a trailing dot; empty for the keys of the file
	origins origins
	bad     map[string]bool // keys whose value could not be parsed, which need no further checks
	errs    []*Error
	lines   map[string]int // for each key, the line of the file that sets it
}

// newLoader returns a loader that sets the keys of c.
func newLoader(c *Config) *loader {
	c.origins = origins{}
	l := &loader{keys: map[string]key{}, origins: c.origins, bad: map[string]bool{}, lines: map[string]int{}}
	for _, k := range table(c) {
		l.keys[k.path] = k
	}
	return l
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
	delete(l.bad, path) // this source replaces a value that could not be parsed; the error about that value remains
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

// serviceLink matches the variables that Kubernetes adds for every Service whose name begins with "wayside". They are not part of the
// configuration and must not prevent a pod from starting.
var serviceLink = regexp.MustCompile(`^WAYSIDE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// reservedEnv reports whether a variable is neither a key nor an error.
func reservedEnv(name, value string) bool {
	if name == "WAYSIDE_CONFIG" || strings.HasPrefix(name, "WAYSIDE_FAULT_") || strings.HasPrefix(name, "WAYSIDE_INTERNAL_") {
		return true
	}
	if !serviceLink.MatchString(name) {
		return false
	}
	// WAYSIDE_PORT=8090 is probably a person's mistake; Kubernetes writes tcp://10.0.0.1:8090.
	return !strings.HasSuffix(name, "_PORT") || strings.HasSuffix(name, "_SERVICE_PORT") ||
		strings.Contains(value, "://") || strings.Contains(name, "_PORT_")
}

// defaultPrefix is the prefix of the variables that a container image uses to set its own defaults. The file takes precedence over these.
const defaultPrefix = "WAYSIDE_DEFAULT_"

// readEnviron sets keys from the variables that begin with prefix: defaultPrefix or envPrefix.
func (l *loader) readEnviron(environ map[string]string, prefix string, source Source) {
	paths := map[string]string{}
	for path := range l.keys {
		paths[envName(path)] = path
	}
	for section, path := range shorthand {
		paths[envName(section)] = path
	}
	setBy := map[string]string{} // key → variable that set it; a key with a shorthand has two variables
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
			l.failf(at, path, "%s sets it to another value: keep one of the two", before)
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

// freeShare limits the default of data.free_min to 1/freeShare of the filesystem.
const freeShare = 8

// set reports whether a source has set a key.
func set(c *Config, path string) bool {
	_, ok := c.origins[path]
	return ok
}

// resolve sets the values that depend on the environment.
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

// fromDataDir sets the values that depend on the data directory.
func fromDataDir(c *Config) {
	if disk := diskBytes(c.Data.Dir); disk > 0 && !set(c, "data.free_min") {
		c.Data.FreeMin = min(Default().Data.FreeMin, disk/freeShare)
	}
	if (c.Archive.URL == "" || !set(c, "archive.url")) && c.Data.Dir != "" {
		dir, err := filepath.Abs(c.Data.Dir)
		if err != nil { // the working directory has been removed: use the path as written
			dir = c.Data.Dir
		}
		c.Archive.URL = (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "archive"))}).String()
	} else if !set(c, "archive.expire") {
		c.Archive.Expire = 0 // delete nothing from an archive that the operator has named, unless archive.expire is set
	}
}

// didYouMean returns a hint that contains the most similar candidate or, if none is similar, the command that lists all.
func didYouMean(name string, candidates []string) string {
	if best := query.Nearest(name, candidates); best != "" {
		return ": did you mean " + best + "?"
	}
	return ": `wayside config example full` lists them all"
}
