package configs

import (
	"fmt"
	"slices"
)

// Validate checks every value and how they go together. It returns an *Error, several joined, or nil.
func (c *Config) Validate() error {
	v := validator{c: c, bad: map[string]bool{}}
	v.run()
	if len(v.errs) == 0 {
		return nil
	}
	return join(v.errs)
}

// RequireUpstream returns an error if no upstream is set: `wayside run` has nothing to forward to then.
func (c *Config) RequireUpstream() error {
	if c.Upstream != "" {
		return nil
	}
	return c.origins.error("upstream", "is not set: say where your service listens, such as --upstream http://127.0.0.1:3000 (or WAYSIDE_UPSTREAM, or upstream: in the file)")
}

// validator collects what is wrong with a configuration.
type validator struct {
	c    *Config
	bad  map[string]bool // keys with an error already: comparing them with others would only repeat it
	errs []*Error
}

func (v *validator) failf(key, format string, args ...any) {
	v.errs = append(v.errs, v.c.origins.error(key, fmt.Sprintf(format, args...)))
	v.bad[key] = true
}

// sound says whether all of these keys passed their own checks.
func (v *validator) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return v.bad[k] })
}

// failPair reports values that do not go together, at the first of the keys that somebody has set.
func (v *validator) failPair(keys []string, format string, args ...any) {
	at := slices.IndexFunc(keys, func(k string) bool { return set(v.c, k) })
	v.failf(keys[max(at, 0)], format, args...)
}

func (v *validator) run() {
	for _, k := range table(v.c) {
		if v.bad[k.path] {
			continue
		}
		if list, isList := k.field.(*[]string); isList {
			v.elements(&k, list)
			continue
		}
		if msg := k.problem(); msg != "" {
			v.failf(k.path, "%s", msg)
		}
	}
	v.addresses()
	v.data()
	v.archive()
	v.times()
}

// times refuses times of which one leaves nothing of the other.
func (v *validator) times() {
	c := v.c
	if v.sound("shutdown.delay", "shutdown.timeout") && c.Shutdown.Delay >= c.Shutdown.Timeout {
		v.failPair([]string{"shutdown.delay", "shutdown.timeout"}, "shutdown.delay (%v) leaves nothing of shutdown.timeout (%v) to finish requests in: lower the delay or raise the timeout",
			c.Shutdown.Delay, c.Shutdown.Timeout)
	}
}

// elements checks a list one element at a time, so that each that is wrong is named, where it stands.
func (v *validator) elements(k *key, list *[]string) {
	all := *list
	if len(all) > listElementsMax {
		v.failf(k.path, "has %d elements: the most is %d", len(all), listElementsMax)
		return
	}
	defer func() { *list = all }()
	for i := range all {
		*list = all[i : i+1]
		msg := k.problem()
		if msg == "" {
			continue
		}
		at := v.c.origins[k.path]
		if element, known := v.c.origins[elementPath(k.path, i)]; known && at.source == SourceFile {
			at = element
		} else if at.source == "" {
			at.source = SourceDefault
		}
		v.errs = append(v.errs, at.error(k.path, msg))
		v.bad[k.path] = true
	}
}
