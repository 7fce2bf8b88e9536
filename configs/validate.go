package configs

import (
	"fmt"
	"slices"
	"strings"
)

// Validate checks every value, and checks that the values are consistent. It returns nil, an *Error, or several of these joined.
func (c *Config) Validate() error {
	v := validator{c: c, bad: map[string]bool{}}
	v.run()
	return join(v.errs)
}

// HasUpstream reports whether the configuration says where requests go.
func (c *Config) HasUpstream() bool { return len(c.Upstream) > 0 || len(c.Routes) > 0 }

// RequireUpstream returns an error if the configuration does not say where requests go, which `wayside run` needs to know.
func (c *Config) RequireUpstream() error {
	if c.HasUpstream() {
		return nil
	}
	return c.origins.error(upstreamKey, "is not set: name the address of your service, such as --upstream http://127.0.0.1:3000 (or WAYSIDE_UPSTREAM, or upstream: in the file)")
}

// Destinations returns the upstreams, or the names of the groups, or "routes" if no route forwards requests. It is meant for logs and for people.
func (c *Config) Destinations() string {
	names := slices.Clone(c.Upstream)
	for _, u := range c.Upstreams {
		names = append(names, u.Name)
	}
	if len(names) == 0 && len(c.Routes) > 0 {
		return routesKey
	}
	return strings.Join(names, ", ")
}

// validator collects the errors of a configuration.
type validator struct {
	c    *Config
	bad  map[string]bool // keys that already have an error and need not be compared with others
	errs []*Error
}

func (v *validator) failf(key, format string, args ...any) {
	v.errs = append(v.errs, v.c.origins.error(key, fmt.Sprintf(format, args...)))
	v.bad[key] = true
}

// sound reports whether the values of all these keys have passed their own checks.
func (v *validator) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return v.bad[k] })
}

// failAt reports values that contradict each other. The error is about the first of the keys that is set.
func (v *validator) failAt(keys []string, format string, args ...any) {
	at := slices.IndexFunc(keys, func(k string) bool { return set(v.c, k) })
	v.failf(keys[max(at, 0)], format, args...)
}

func (v *validator) run() {
	for _, k := range table(v.c) {
		v.key(&k)
	}
	for _, k := range elementKeys(v.c) {
		if parent, _ := parentPath(k.path); !v.bad[parent] {
			v.key(&k.key)
		}
	}
	v.addresses()
	v.data()
	v.archive()
	v.times()
	v.listenerTLS()
	v.groups()
	v.routes()
}

// key checks one value on its own.
func (v *validator) key(k *key) {
	if v.bad[k.path] {
		return
	}
	if list, isList := k.field.(*[]string); isList {
		v.elements(k, list)
		return
	}
	if msg := k.problem(); msg != "" {
		v.failf(k.path, "%s", msg)
	}
}

// times checks that durations are consistent with each other.
func (v *validator) times() {
	c := v.c
	if v.sound("shutdown.delay", "shutdown.timeout") && c.Shutdown.Delay >= c.Shutdown.Timeout {
		v.failAt([]string{"shutdown.delay", "shutdown.timeout"}, "shutdown.delay (%v) leaves no time within shutdown.timeout (%v) to finish requests: lower the delay or raise the timeout",
			c.Shutdown.Delay, c.Shutdown.Timeout)
	}
}

// elements checks each element of a list, so that every wrong one is reported with its own position.
func (v *validator) elements(k *key, list *[]string) {
	if len(*list) > listElementsMax {
		v.failf(k.path, "has %d elements: the maximum is %d", len(*list), listElementsMax)
		return
	}
	for i := range *list {
		element := key{field: &(*list)[i], check: k.check}
		msg := element.problem()
		if msg == "" {
			continue
		}
		v.failElement(k.path, i, "%s", msg)
	}
}

// failElement reports what is wrong with an element in a list of plain values.
func (v *validator) failElement(path string, i int, format string, args ...any) {
	at := v.c.origins[path]
	if element, known := v.c.origins[elementPath(path, i)]; known && at.source == SourceFile {
		at = element
	} else if at.source == "" {
		at.source = SourceDefault
	}
	v.errs = append(v.errs, at.error(path, fmt.Sprintf(format, args...)))
	v.bad[path] = true
}
