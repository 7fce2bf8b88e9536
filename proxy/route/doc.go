// Package route finds the route of a request: the first one in an ordered list whose conditions the request meets. It does no I/O and keeps no
// state.
//
// # Conditions
//
// A condition that a route does not have is met by every request.
//
//   - Host: exact, or *.example.org for every name below example.org. Case, a port and one trailing dot are ignored.
//   - Path: exact, or a prefix that ends with "/*". /api/* matches /api, /api/ and everything below, but not /apis. Paths are case-sensitive
//     (RFC 3986, section 6.2.2.1).
//   - Methods: the request's method is one of the listed ones. GET does not include HEAD.
//   - Headers: for each condition, a line with this name and exactly this value. If a field has several lines, it is enough if one matches.
//
// # The path that is compared (path.go)
//
// Routes are compared with a normal form of the path; the request itself is not changed. In the normal form, all escapes except %2F and %25 are
// decoded, the segments "." and ".." are resolved (RFC 3986, sections 5.2.4 and 6.2.2), and repeated slashes count as one.
//
// The proxy forwards the path's bytes unchanged, and the service behind it interprets them in its own way. Some services treat %2F or a
// backslash as a slash, drop parameters (";x=1"), decode twice, end a path at NUL, or do not resolve "..". If such a reading led to a
// different route than the normal form, a client could use one route to reach a resource that another route protects. So [List.Match]
// tries each reading that the path allows, and returns [ErrAmbiguous] if two readings lead to different routes. If all readings lead to
// the same route, or if no route in the list has a path, nothing is refused.
//
// # Costs
//
// Match allocates nothing after its [Scratch] has grown. It searches the list linearly: once if the path can be read in only one way, and
// at most 128 times otherwise. It refuses an ambiguous path of more than 2048 bytes. It reads the request's fields at most once, no
// matter how many conditions there are.
package route
