package configs

// Route describes which requests it matches and what happens to them. The first route in the list that matches is used. A request that no
// route matches gets 404.
type Route struct {
	Name    string
	Host    string            // exact, or *.example.org for every name below it; empty = any
	Path    string            // exact, or a prefix that ends with /*; empty = any
	Methods []string          // empty = any
	Headers map[string]string // field name → exact value; all must match

	// The action: exactly one of the three is set.
	To       []Target // in the order of the file
	Redirect string   // absolute URL, or a path
	Respond  *Respond

	StripPrefix     string // removed from the path before it is forwarded
	RewriteHost     bool   // send the server's own host in Host instead of the client's
	Allow           []string
	AuthFile        string
	ResponseTimeout *Duration // nil = proxy.response_timeout; 0 = no limit
	BodyBytesMax    *Bytes    // nil = proxy.body_bytes_max; 0 = no limit
	RequestFields   Fields
	ResponseFields  Fields

	Auth Secret // lines NAME:BCRYPT, read from AuthFile
}

// Target is a group that gets a share of a route's requests.
type Target struct {
	Upstream string // name of the group
	Weight   int    // share of the requests, relative to the other targets; 0 = none
}

// Respond is a response that wayside itself generates.
type Respond struct {
	Status   int
	Body     string
	BodyFile string

	FileBody string // read from BodyFile
}

// Content returns the body of the response.
func (r *Respond) Content() string {
	if r.BodyFile != "" {
		return r.FileBody
	}
	return r.Body
}

// labelBytesMax limits the names of groups and routes.
const labelBytesMax = 64

// routesKey is the key of the list of routes.
const routesKey = "routes"

// routeKeys binds the keys of a route to its fields.
func routeKeys(r *Route) []key {
	return []key{
		{"name", &r.Name, "Name of the route in events, statistics and metrics. Required; at most 64 letters, digits and `._-`.", textCheck(checkLabel)},
		{"host", &r.Host, "Host of the request, without port: `api.example.org`, or `*.example.org` for every name below it. Empty = any.", optional(checkRouteHost)},
		{"path", &r.Path, "Path of the request: exact (`/closed`), or a prefix (`/api/*`, which also matches `/api`). Empty = any.", optional(checkRoutePath)},
		{"methods", &r.Methods, "Methods of the request. Empty = any.", textCheck(checkMethod)},
		{"headers", &r.Headers, "Header fields that the request must have, each with exactly this value: `{X-Beta: \"1\"}`.", check{}},
		{"to", &r.To, "Name of the group that gets the requests, or several names with weights: `{api: 90, web: 10}`.", check{}},
		{"redirect", &r.Redirect, "Instead of `to`: redirect to this URL or path, with status 308. A URL without a path (`https://host`) keeps the path of the request. The query of the request is kept, unless the URL has its own.", optional(checkRedirect)},
		{"respond", &r.Respond, "Instead of `to`: wayside itself responds, `{status: 503, body: TEXT}` or `{status: 503, body_file: FILE}`.", check{}},
		{"strip_prefix", &r.StripPrefix, "Remove this prefix from the path before the request is forwarded, or before it is redirected to a URL without a path.", optional(checkStripPrefix)},
		{"rewrite_host", &r.RewriteHost, "Set Host to the host of the server's URL, instead of the host that the client sent.", check{}},
		{"allow", &r.Allow, "Client addresses or networks (10.0.0.0/8) that may use the route; others get 403. Empty = all.", textCheck(checkNetwork)},
		{"auth_file", &r.AuthFile, "File with users and bcrypt hashes, in the format that `htpasswd -B` writes. A request without the name and password of one of these users gets 401.", check{}},
		{"response_timeout", &r.ResponseTimeout, "Maximum wait for the response header; after that, the response is 504. 0 = no limit. If it is not set, `proxy.response_timeout` applies.", ifSet[Duration](orZero(atLeast(Millisecond)))},
		{"body_bytes_max", &r.BodyBytesMax, "Maximum size of a request body; the response to a larger one is 413. 0 = no limit. If it is not set, `proxy.body_bytes_max` applies.", ifSet[Bytes](atLeast[Bytes](0))},
		{"request_fields.set", &r.RequestFields.Set, "Fields to set in requests of this route, after those of `proxy.request_fields`.", textCheck(checkSetRequestField)},
		{"request_fields.add", &r.RequestFields.Add, "Fields to add to requests of this route.", textCheck(checkAddedField)},
		{"request_fields.remove", &r.RequestFields.Remove, "Names of fields to remove from requests of this route.", textCheck(checkRemovedField)},
		{"response_fields.set", &r.ResponseFields.Set, "Fields to set in responses of this route, after those of `proxy.response_fields`.", textCheck(checkSetResponseField)},
		{"response_fields.add", &r.ResponseFields.Add, "Fields to add to responses of this route.", textCheck(checkAddedField)},
		{"response_fields.remove", &r.ResponseFields.Remove, "Names of fields to remove from responses of this route.", textCheck(checkRemovedField)},
	}
}

// respondKeys binds the keys of a response to its fields.
func respondKeys(r *Respond) []key {
	return []key{
		{"status", &r.Status, "Status of the response. Required.", between(200, 599)},
		{"body", &r.Body, "Body of the response.", check{}},
		{"body_file", &r.BodyFile, "File with the body of the response, at most 1MiB. It is read at startup and on a reload.", check{}},
	}
}
