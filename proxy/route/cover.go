package route

import (
	"slices"
	"strings"
)

// Unreachable is a route that can never match, because an earlier one takes all its requests.
type Unreachable struct {
	Route   int // index
	Because int // index of the earlier route
}

// Unreachable lists the routes that can never match because of one earlier route. It does not find routes that several earlier ones
// cover together.
func (l *List) Unreachable() (found []Unreachable) {
	for i := range l.routes {
		for before := range i {
			if l.routes[before].covers(&l.routes[i]) {
				found = append(found, Unreachable{Route: i, Because: before})
				break
			}
		}
	}
	return found
}

// covers reports whether c holds for every request for which d holds.
func (c *conditions) covers(d *conditions) bool {
	return c.coversHost(d) && c.coversPath(d) && c.coversMethods(d) && c.coversHeaders(d)
}

func (c *conditions) coversHost(d *conditions) bool {
	switch {
	case c.host == "":
		return true
	case c.below:
		return strings.HasSuffix(d.host, c.host) && (d.below || d.host != c.host)
	}
	return !d.below && d.host == c.host
}

func (c *conditions) coversPath(d *conditions) bool {
	switch {
	case c.path == "" && !c.prefix:
		return true
	case d.path == "" && !d.prefix: // also for the target "*"
		return false
	case c.prefix:
		return c.hasPath([]byte(d.path + "/"))
	}
	return !d.prefix && d.path == c.path
}

func (c *conditions) coversMethods(d *conditions) bool {
	if len(c.methods) == 0 {
		return true
	}
	return len(d.methods) > 0 && !slices.ContainsFunc(d.methods, func(m string) bool { return !slices.Contains(c.methods, m) })
}

func (c *conditions) coversHeaders(d *conditions) bool {
	return !slices.ContainsFunc(c.headers, func(n int) bool { return !slices.Contains(d.headers, n) })
}
