// Package route finds the route of a request: the first one of an ordered list whose conditions all hold. It does no I/O and keeps no
// state.
//
// # Conditions
//
// A condition that a route does not have holds for every request.
//
//   - Host: exact, or *.example.org for every name below example.org. Case, a port and one dot at the end do not count.
//   - Path: exact, or a prefix that ends with "/*". /api/* holds for /api, /api/ and everything below; it does not hold for /apis. Case
//     counts (RFC 3986, section 6.2.2.1).
//   - Methods: one of them, exactly. GET does not include HEAD.
//   - Headers: for each one, a line with this name and exactly this value. A field may have several lines; one of them is enough.
//
// # The path that is compared (path.go)
//
// Routes compare a normal form of the path; the request keeps its own bytes. In the normal form, escapes are decoded except %2F and %25,
// the segments "." and ".." are resolved (RFC 3986, sections 5.2.4 and 6.2.2), and repeated slashes count as one.
//
// The proxy forwards the bytes that came, and the service behind it brings them into a form of its own. Some services take %2F or a
// backslash for a slash, drop parameters (";x=1"), decode twice, end a path at NUL, or do not resolve "..". If such a reading leads to
// another route than the normal form, a client could use one route to reach what another one protects. So [List.Match] tries each reading
// that the path allows, and returns [ErrAmbiguous] if two of them lead to different routes. If all readings lead to the same route, or if no
// route of the list has a path, nothing is refused.
//
// # Costs
//
// Match allocates nothing once its [Scratch] has grown. It takes time in proportion to the length of the list: once for a path that can be
// read in one way, and at most 128 times otherwise. It refuses such a path if it is longer than 2048 bytes. The fields of the
// request are read at most once, whatever the number of conditions.
package route
