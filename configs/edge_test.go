package configs

import (
	"strings"
	"testing"
)

// TestEdgeErrors: each file has exactly one error, which has a position and says what to do.
func TestEdgeErrors(t *testing.T) {
	const group = "upstreams: {web: http://a:1}\n"
	const all = "routes: [{name: all, to: web}]\n"
	route := func(keys string) string { return group + "routes: [{name: r, " + keys + "}]\n" }
	members := func(keys string) string { return "upstreams: {web: {" + keys + "}}\n" + all }
	const tls = "tls: {cert_file: c, key_file: k}\n"
	for name, c := range map[string]struct{ yaml, want string }{
		"upstream and routes":      {"upstream: http://a\n" + group + all, "f:1:11: upstream: cannot be combined with routes or upstreams"},
		"upstreams without routes": {group, "f:1:12: upstreams: has groups, but no route uses them: add routes: [{name: all, to: web}]"},
		"upstream twice":           {"upstream: [http://a, http://a/]\n", "f:1:22: upstream: http://a/ is already in the list"},
		"upstream mapping":         {"upstream: {a: b}\n", "f:1:11: upstream: must be a list"},

		"unknown key of a group":  {members("servers: [http://a], blance: least"), "f:1:40: upstreams.web.blance: no such key: did you mean balance?"},
		"unknown key of a server": {members("servers: [{url: http://a, wieght: 1}]"), "upstreams.web.servers[0].wieght: no such key: did you mean weight?"},
		"unknown key in health":   {members("servers: [http://a], health: {pth: /}"), "upstreams.web.health.pth: no such key: did you mean health.path?"},
		"group twice":             {"upstreams: {web: http://a, web: http://b}\n" + all, "f:1:28: upstreams.web: is given twice, first on line 1"},
		"group key twice":         {members("servers: [http://a], retries: 1, retries: 2"), "f:1:52: upstreams.web.retries: is given twice"},
		"group name":              {"upstreams: {'a b': http://a}\nroutes: [{name: all, path: /y, redirect: /x}]\n", "f:1:13: upstreams.a b: \"a b\" is not a name"},
		"group is a list":         {"upstreams: {web: [http://a]}\n" + all, "f:1:18: upstreams.web: must be a mapping"},
		"group is empty":          {"upstreams: {web: }\n" + all, "f:1:13: upstreams.web: has neither servers nor dns"},
		"group without servers":   {members("balance: least"), "f:1:13: upstreams.web: has neither servers nor dns"},
		"servers and dns":         {members("servers: [http://a], dns: 'b:1'"), "f:1:45: upstreams.web.dns: cannot be combined with servers"},
		"servers as text":         {members("servers: http://a"), "f:1:28: upstreams.web.servers: must be a list"},
		"server twice":            {members("servers: [http://a, {url: http://a/}]"), "f:1:39: upstreams.web.servers[1]: http://a/ is already in the group"},
		"server without url":      {members("servers: [{weight: 2}]"), "f:1:29: upstreams.web.servers[0].url: \"\" is not an upstream"},
		"server form":             {members("servers: [http://a/b]"), "f:1:29: upstreams.web.servers[0].url: http://a/b has a path"},
		"weights of 0":            {members("servers: [{url: http://a, weight: 0}]"), "f:1:28: upstreams.web.servers: all weights are 0"},
		"weight":                  {members("servers: [{url: http://a, weight: -1}]"), "upstreams.web.servers[0].weight: -1 is too small"},
		"weight too large":        {members("servers: [{url: http://a, weight: 1001}]"), "1001 is too large: the maximum is 1000"},
		"dns without port":        {members("dns: api.local"), "f:1:24: upstreams.web.dns: \"api.local\" is not a name with a port"},
		"dns of an address":       {members("dns: '10.0.0.1:80'"), "servers: [http://10.0.0.1:80]"},
		"balance":                 {members("servers: [http://a], balance: hash"), "upstreams.web.balance: \"hash\" is not one of round_robin, least"},
		"cookie":                  {members("servers: [http://a], sticky: {cookie: 'a b'}"), "is not the name of a cookie"},
		"health path":             {members("servers: [http://a], health: {path: ready}"), "f:1:55: upstreams.web.health.path: \"ready\" is not a path: begin with /"},
		"health path, blank":      {members("servers: [http://a], health: {path: '/a b'}"), "write it escaped, /a%20b"},
		"health path, percent":    {members("servers: [http://a], health: {path: '/a%zz'}"), "has a % that does not begin an escape"},
		"health without path":     {members("servers: [http://a], health: {every: 9s}"), "f:1:56: upstreams.web.health.every: has no effect without health.path"},
		"health overlaps":         {members("servers: [http://a], health: {path: /, every: 1s, timeout: 2s}"), "upstreams.web.health.timeout: health.timeout (2s) is longer than health.every (1s)"},
		"health too often":        {members("servers: [http://a], health: {path: /, every: 1ms, timeout: 1ms}"), "1ms is too small: the minimum is 100ms"},
		"no fails":                {members("servers: [http://a], health: {path: /, fails: 0}"), "health.fails: 0 is too small"},
		"eject for nothing":       {members("servers: [http://a], eject: {for: 0s}"), "eject.for: 0s is too small"},
		"eject all and more":      {members("servers: [http://a], eject: {at_most: 101%}"), "eject.at_most: 101% is too large: the maximum is 100%"},
		"eject none":              {members("servers: [http://a], eject: {at_most: 0%}"), "0% is too small"},
		"eject half":              {members("servers: [http://a], eject: {at_most: half}"), "\"half\" is not a percentage"},
		"retries":                 {members("servers: [http://a], retries: 11"), "11 is too large: the maximum is 10"},
		"conns":                   {members("servers: [http://a], conns_max: -1"), "-1 is too small"},
		"tls in the clear":        {members("servers: [http://a], tls: {insecure: true}"), "f:1:56: upstreams.web.tls.insecure: has no effect, because no server of the group begins with https://"},
		"tls, two minds":          {members("servers: [https://a], tls: {insecure: true, ca_file: x}"), "upstreams.web.tls.insecure: contradicts tls.ca_file"},
		"tls, half a pair":        {members("servers: [https://a], tls: {key_file: x}"), "upstreams.web.tls.key_file: needs cert_file as well"},
		"tls name":                {members("servers: [https://a], tls: {server_name: 'https://a'}"), "tls.server_name: \"https://a\" is not a host name"},
		"server is listen":        {"listen: 127.0.0.1:9\n" + members("servers: [http://b, http://localhost:9]"), "f:2:39: upstreams.web.servers[1]: http://localhost:9 is an address on which wayside itself listens (listen: 127.0.0.1:9)"},
		"https server is listen":  {"listen: :443\nupstreams: {web: https://127.0.0.1}\n" + all, "f:2:18: upstreams.web.servers[0]: https://127.0.0.1 is an address on which wayside itself listens"},
		"dns is admin":            {"admin: 127.0.0.1:9\n" + members("dns: 'localhost:9'"), "f:2:24: upstreams.web.dns: localhost:9 is an address on which wayside itself listens (admin.listen: 127.0.0.1:9)"},
		"second server is listen": {"listen: 127.0.0.1:9\nupstream: [http://b, http://localhost:9]\n", "f:2:22: upstream: http://localhost:9 is an address on which wayside itself listens"},

		"routes as mapping":      {group + "routes: {a: b}\n", "f:2:9: routes: must be a list"},
		"route as text":          {group + "routes: [web]\n", "f:2:10: routes[0]: must be a mapping, such as {name: all, to: GROUP}"},
		"unknown key of a route": {route("to: web, pth: /a"), "f:2:29: routes[0].pth: no such key: did you mean path?"},
		"no name":                {group + "routes: [{to: web}]\n", "f:2:10: routes[0].name: is not set"},
		"bad name":               {group + "routes: [{name: 'a b', to: web}]\n", "f:2:17: routes[0].name: \"a b\" is not a name"},
		"name twice":             {group + "routes: [{name: a, to: web}, {name: a, to: web}]\n", "f:2:37: routes[1].name: \"a\" is also the name of routes[0]"},
		"no action":              {route("path: /a"), "f:2:10: routes[0]: does nothing: add to: GROUP"},
		"two actions":            {route("to: web, redirect: /x"), "routes[0].redirect: cannot be combined with to"},
		"three actions":          {route("to: web, redirect: /x, respond: {status: 200}"), "routes[0].redirect: cannot be combined with respond and to"},
		"unknown group":          {route("to: wbe"), "f:2:24: routes[0].to.wbe: there is no group \"wbe\" in upstreams: did you mean web?"},
		"unknown group of two":   {route("to: {web: 1, other: 1}"), "f:2:33: routes[0].to.other: there is no group \"other\" in upstreams: add it there"},
		"target twice":           {route("to: {web: 1, web: 2}"), "f:2:33: routes[0].to.web: is given twice"},
		"targets as a list":      {route("to: [web]"), "routes[0].to: must be a mapping, such as {api: 90, web: 10}, or one name"},
		"target weights of 0":    {route("to: {web: 0}"), "f:2:24: routes[0].to: all weights are 0"},
		"target weight":          {route("to: {web: many}"), "f:2:30: routes[0].to.web: must be a weight"},
		"target weight below 0":  {route("to: {web: -1}"), "routes[0].to.web: -1 is too small"},
		"host with port":         {route("to: web, host: 'a:80'"), "\"a:80\" has a port: write a"},
		"host in capitals":       {route("to: web, host: A"), "write it in lower case, a"},
		"host with a star":       {route("to: web, host: 'a.*.b'"), "a * may only replace the first part"},
		"host, any":              {route("to: web, host: '*'"), "leave host out"},
		"host, dot":              {route("to: web, host: 'a.'"), "leave out the dot"},
		"path":                   {route("to: web, path: api"), "routes[0].path: \"api\" is not a path: begin with /"},
		"path with star":         {route("to: web, path: '/a*'"), "a * is allowed only at the end, after a slash"},
		"path with query":        {route("to: web, path: '/a?b'"), "write /a"},
		"path with dots":         {route("to: web, path: /a/../b"), "can never match, because . and .. are resolved"},
		"path with slashes":      {route("to: web, path: /a//b"), "repeated slashes"},
		"path, escaped":          {route("to: web, path: /a%2fb"), "paths are compared decoded"},
		"method":                 {route("to: web, methods: [get]"), "f:2:39: routes[0].methods: \"get\": methods are case-sensitive: write GET"},
		"methods as text":        {route("to: web, methods: GET"), "must be a list"},
		"header name":            {route("to: web, headers: {'a b': c}"), "f:2:39: routes[0].headers.a b: \"a b\" is not a field name"},
		"header host":            {route("to: web, headers: {Host: c}"), "is matched by the key host"},
		"header twice":           {route("to: web, headers: {X-A: b, x-a: c}"), "is given twice, because field names are case-insensitive"},
		"header value":           {route("to: web, headers: {X-A: ' b'}"), "is not the value of a field"},
		"header form":            {route("to: web, headers: [X-A]"), "must be a mapping, such as {X-Beta: \"1\"}"},
		"redirect":               {route("redirect: ftp://a"), "\"ftp://a\" is not a target: write https://host"},
		"redirect, password":     {route("redirect: https://u:p@a"), "\"…@a\" is not a target"},
		"redirect to itself":     {route("path: /a/*, redirect: /a/b"), "routes[0].redirect: /a/b is a path that the route itself matches"},
		"respond as text":        {route("respond: 503"), "routes[0].respond: must be a mapping, such as {status: 503, body: TEXT}"},
		"respond without status": {route("respond: {body: a}"), "routes[0].respond.status: 0 is too small"},
		"respond 99":             {route("respond: {status: 99}"), "99 is too small"},
		"respond, two bodies":    {route("respond: {status: 503, body: a, body_file: b}"), "routes[0].respond.body: cannot be combined with body_file"},
		"respond 204":            {route("respond: {status: 204, body: a}"), "cannot have a body"},
		"strip, no path":         {route("to: web, strip_prefix: app"), "\"app\" is not a path"},
		"strip, slash":           {route("to: web, strip_prefix: /app/"), "ends with a slash"},
		"strip, never":           {route("to: web, path: /api/*, strip_prefix: /app"), "/app is never at the beginning of a path that /api/* matches"},
		"strip nothing":          {route("respond: {status: 200}, strip_prefix: /app"), "routes[0].strip_prefix: has no effect with respond"},
		"limit of nothing":       {route("respond: {status: 200}, body_bytes_max: 1KiB"), "routes[0].body_bytes_max: has no effect with respond"},
		"allow":                  {route("to: web, allow: [10.0.0.1/8]"), "f:2:37: routes[0].allow: 10.0.0.1/8 has host bits"},
		"timeout":                {route("to: web, response_timeout: 1us"), "1µs is too small"},
		"timeout, long":          {route("to: web, response_timeout: 36501d"), "36501d is too large: the maximum is 36500d"},
		"body limit, large":      {route("to: web, body_bytes_max: 1025TiB"), "1025TiB is too large: the maximum is 1024TiB"},
		"request field":          {route("to: web, request_fields: {set: ['Content-Length: 1']}"), "routes[0].request_fields.set: Content-Length delimits messages"},

		"redirect without tls": {"redirect_http: :80\n", "f:1:16: redirect_http: redirects to HTTPS, but the listener has no certificate"},
		"hsts without tls":     {"tls: {hsts: 1h}\n", "f:1:13: tls.hsts: needs a certificate"},
		"clients without tls":  {"tls: {client_ca_file: x}\n", "f:1:23: tls.client_ca_file: needs a certificate"},
		"acme without hosts":   {"tls: {acme: {email: a@b}}\n", "f:1:21: tls.acme.email: has no effect without tls.acme.hosts"},
		"acme ca":              {"tls: {acme: {hosts: [a], ca_file: x}}\n", "tls.acme.ca_file: needs tls.acme.directory"},
		"acme wildcard":        {"tls: {acme: {hosts: ['*.a']}}\n", "f:1:22: tls.acme.hosts: \"*.a\": certificates for wildcard names need"},
		"acme in the clear":    {"tls: {acme: {hosts: [a], directory: http://a}}\n", "\"http://a\" is not the directory of an authority"},
		"email":                {"tls: {acme: {hosts: [a], email: ops}}\n", "\"ops\" is not an email address"},
		"certificate twice":    {"tls: {certificates: [{cert_file: a, key_file: b}, {cert_file: a, key_file: b}]}\n", "f:1:51: tls.certificates[1]: is already in the list"},
		"certificate, no key":  {"tls: {certificates: [{cert_file: a}]}\n", "f:1:22: tls.certificates[0].key_file: is not set: name a file"},
		"certificate, unknown": {"tls: {certificates: [{cert_fil: a, cert_file: a, key_file: b}]}\n", "f:1:23: tls.certificates[0].cert_fil: no such key: did you mean cert_file?"},
		"hsts for ever":        {tls + "tls.hsts: 3651d\n", "tls.hsts: 3651d is too large"},
		"two listeners":        {tls + "listen: :443\nredirect_http: 127.0.0.1:443\n", "f:3:16: redirect_http: 127.0.0.1:443 is already used by listen (:443)"},
		"proxy protocol":       {"proxy_protocol: [gateway]\n", "f:1:18: proxy_protocol: \"gateway\" is neither an address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := readEdge(c.yaml)
			if len(errs) != 1 || errs[0].Line == 0 || errs[0].Column == 0 || !strings.Contains(errs[0].Error(), c.want) {
				t.Errorf("got  %v\nwant %s", errs, c.want)
			}
		})
	}
}
