package everykey

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

// elementEdges lists the values of a key of an element at its limits.
type elementEdges struct {
	in   string   // the element, with KEY: VALUE in it
	good []string // accepted values
	bad  []string // values that lead to exit code 78
}

// The elements that contain most keys. The rest of the file depends on the structured key (see settingsOf).
const (
	inGroup   = "{web: {servers: [$ORIGIN], KEY: VALUE}}"
	inSecure  = "{web: {servers: [https://127.0.0.1:1], KEY: VALUE}}"
	inHealth  = "{web: {servers: [$ORIGIN], health.path: /, KEY: VALUE}}"
	inRoute   = "[{name: all, to: web, KEY: VALUE}]"
	inRespond = "[{name: all, respond: {KEY: VALUE}}]"
)

// settingsOf returns the settings that are needed with an element of a structured key.
func settingsOf(key string) []string {
	switch key {
	case "upstreams":
		return []string{"upstream: ''", "routes: [{name: all, to: web}]"}
	case "routes":
		return []string{"upstream: ''", "upstreams: {web: $ORIGIN}"}
	}
	return nil
}

// ofElement must have an entry for each key of an element.
var ofElement = map[string]elementEdges{
	"tls.certificates[].cert_file": {in: "[{KEY: VALUE, key_file: $SERVERKEY}]", good: []string{"$SERVERCERT", "$SERVERCERT2"}, bad: []string{"$DIR", "$DIR/none", "$KEY", "$CA", "/dev/zero", "''", "[a]"}},
	"tls.certificates[].key_file":  {in: "[{KEY: VALUE, cert_file: $SERVERCERT}]", good: []string{"$SERVERKEY"}, bad: []string{"$DIR", "$DIR/none", "$KEY", "$CA", "/dev/zero", "''"}},

	"upstreams.NAME.servers": {
		in: "{web: {KEY: VALUE}}", good: []string{"[$ORIGIN]", "[$ORIGIN, http://127.0.0.1:1]", "[{url: $ORIGIN}]"},
		bad: []string{"[]", "''", "$ORIGIN", "[ftp://a]", "[$ORIGIN, $ORIGIN]", "[[$ORIGIN]]", "[~]", "{url: $ORIGIN}", "[" + strings.Repeat("http://a, ", 257) + "]"},
	},
	"upstreams.NAME.dns":             {in: "{web: {KEY: VALUE}}", good: []string{"localhost:1", "not-there.invalid:80"}, bad: []string{"localhost", "127.0.0.1:80", "'a b:80'", "a:0", "a:70000", "http://a:80", "':80'", "''", "[a]"}},
	"upstreams.NAME.balance":         {in: inGroup, good: []string{"least", "round_robin"}, bad: []string{"hash", "''", "LEAST"}},
	"upstreams.NAME.sticky.cookie":   {in: inGroup, good: []string{"server"}, bad: []string{"'a b'", "'a=b'", strings.Repeat("c", 65), "grüße"}},
	"upstreams.NAME.health.path":     {in: inGroup, good: []string{"/ready", "'/a?b=c'", "/%20"}, bad: []string{"ready", "//a", "'/a b'", "'/a#b'", "/%zz", "/grüße", "http://a/"}},
	"upstreams.NAME.health.every":    {in: inHealth, good: []string{"2s", "1h"}, bad: []string{"0", "99ms", "61m", "1s", "often"}},
	"upstreams.NAME.health.timeout":  {in: inHealth, good: []string{"1ms", "5s"}, bad: []string{"0", "6s", "1ns", "2h"}},
	"upstreams.NAME.health.fails":    {in: inHealth, good: []string{"1", "100"}, bad: []string{"0", "-1", "101", "many"}},
	"upstreams.NAME.health.passes":   {in: inHealth, good: []string{"1", "100"}, bad: []string{"0", "-1", "101"}},
	"upstreams.NAME.eject.after":     {in: inGroup, good: []string{"0", "10000"}, bad: []string{"-1", "10001"}},
	"upstreams.NAME.eject.for":       {in: inGroup, good: []string{"1s", "24h"}, bad: []string{"0", "999ms", "25h"}},
	"upstreams.NAME.eject.at_most":   {in: inGroup, good: []string{"1%", "100%", "50"}, bad: []string{"0%", "101%", "-1%", "half", "1.5%", "''"}},
	"upstreams.NAME.retries":         {in: inGroup, good: []string{"0", "10"}, bad: []string{"-1", "11"}},
	"upstreams.NAME.conns_max":       {in: inGroup, good: []string{"0", "1"}, bad: []string{"-1", "99999999999"}},
	"upstreams.NAME.tls.ca_file":     {in: inSecure, good: []string{"$CA"}, bad: []string{"$DIR", "$DIR/none", "$FILE", "$KEY"}},
	"upstreams.NAME.tls.cert_file":   {in: "{web: {servers: [https://127.0.0.1:1], tls.key_file: $SERVERKEY, KEY: VALUE}}", good: []string{"$SERVERCERT"}, bad: []string{"$DIR/none", "$CA", "$KEY", "''"}},
	"upstreams.NAME.tls.key_file":    {in: "{web: {servers: [https://127.0.0.1:1], tls.cert_file: $SERVERCERT, KEY: VALUE}}", good: []string{"$SERVERKEY"}, bad: []string{"$DIR/none", "$CA", "$KEY", "''"}},
	"upstreams.NAME.tls.server_name": {in: inSecure, good: []string{"api.example.org", "127.0.0.1"}, bad: []string{"https://a", "'a b'", "a:443"}},
	"upstreams.NAME.tls.insecure":    {in: inSecure, good: []string{"true", "false"}, bad: []string{"maybe", "1"}},

	"upstreams.NAME.servers[].url": {
		in: "{web: {servers: [{KEY: VALUE}]}}", good: []string{"$ORIGIN", "unix:///nowhere/app.sock", "https://127.0.0.1:1"},
		bad: []string{"''", "localhost:3000", "http://a/b", "http://a:0", "ftp://a", "http://u:p@a", "'http://a b'", "unix://a", "[a]"},
	},
	"upstreams.NAME.servers[].weight": {in: "{web: {servers: [http://127.0.0.1:1, {url: $ORIGIN, KEY: VALUE}]}}", good: []string{"0", "1000"}, bad: []string{"-1", "1001", "heavy"}},

	"routes[].name":                   {in: "[{to: web, KEY: VALUE}]", good: []string{"a", "A_b.c-1", strings.Repeat("n", 64)}, bad: []string{"''", "'a b'", "-a", "a-", strings.Repeat("n", 65), "grüße", "(a)", "[a]"}},
	"routes[].host":                   {in: inRoute, good: []string{"a.example", "'*.a.example'", "127.0.0.1", "'[::1]'"}, bad: []string{"'*'", "'a.*'", "A", "a:80", "a.", "a/b", "'*.'", "'a b'", "-a"}},
	"routes[].path":                   {in: inRoute, good: []string{"/", "/x", "/*", "/a/*", "'/grüße und so'"}, bad: []string{"x", "'/a*'", "/*/a", "/a//b", "/a/../b", "/a/.", "/a%20", "'/a?b'", "'/a#b'", "/a;b", "'/a\\b'"}},
	"routes[].methods":                {in: inRoute, good: []string{"[GET]", "[GET, POST, PURGE]", "[]"}, bad: []string{"[get]", "GET", "['']", "['A B']", "[CONNECT]", "[[GET]]"}},
	"routes[].headers":                {in: inRoute, good: []string{"{X-A: b}", "{X-A: ''}", "{}"}, bad: []string{"[X-A]", "X-A", "{X A: b}", "{X-A: ' b'}", "{X-A: b, x-a: c}", "{Host: a}", "{Content-Length: 1}", "{X-A: [b]}", "{X-A: ~}", "{X-A: \"b\\x01\"}"}},
	"routes[].to":                     {in: "[{name: all, KEY: VALUE}]", good: []string{"web", "{web: 1}"}, bad: []string{"wbe", "{web: 0}", "{web: -1}", "{web: 1001}", "{web: 1, web: 1}", "[web]", "{}", "''", "{web: }", "{web: 1, other: 0}"}},
	"routes[].redirect":               {in: "[{name: all, path: /y, KEY: VALUE}]", good: []string{"https://a.example", "/x", "'https://a.example/b?c'"}, bad: []string{"ftp://a", "a", "//a", "/y", "https://", "https://u:p@a", "'/a b'", "https://a:0"}},
	"routes[].respond":                {in: "[{name: all, KEY: VALUE}]", good: []string{"{status: 200}"}, bad: []string{"503", "{}", "[]", "{status: 200, body: a, body_file: $USERS}", "{status: 204, body: a}", "{body: a}", "{code: 200}"}},
	"routes[].strip_prefix":           {in: inRoute, good: []string{"/app", "/a/b"}, bad: []string{"app", "/", "/app/", "/app/*", "/a//b", "/a%20"}},
	"routes[].rewrite_host":           {in: inRoute, good: []string{"true"}, bad: []string{"maybe", "[true]"}},
	"routes[].allow":                  {in: inRoute, good: []string{"[127.0.0.1]", "[10.0.0.0/8, '::1']", "[]"}, bad: []string{"127.0.0.1", "[10.0.0.1/8]", "[a]", "['']", "['::ffff:127.0.0.1']"}},
	"routes[].auth_file":              {in: inRoute, good: []string{"$USERS"}, bad: []string{"$DIR", "$DIR/none", "$KEY", "$FILE", "$CA", "/dev/null"}},
	"routes[].response_timeout":       {in: inRoute, good: []string{"0", "1ms", "3d"}, bad: []string{"1ns", "-1s", "soon", "36501d"}},
	"routes[].body_bytes_max":         {in: inRoute, good: []string{"0", "10Gi"}, bad: []string{"-1", "10G", "lots", "1025TiB"}},
	"routes[].request_fields.set":     {in: inRoute, good: []string{"['X-A: b']", "['Host: inner']"}, bad: []string{"[X-A]", "['Content-Length: 3']"}},
	"routes[].request_fields.add":     {in: inRoute, good: []string{"['X-A: b']"}, bad: []string{"['Host: a']", "['']"}},
	"routes[].request_fields.remove":  {in: inRoute, good: []string{"[X-A]"}, bad: []string{"[Host]", "['X-A: b']"}},
	"routes[].response_fields.set":    {in: inRoute, good: []string{"['X-A: b']"}, bad: []string{"[X-A]", "['Connection: close']"}},
	"routes[].response_fields.add":    {in: inRoute, good: []string{"['X-A: b']"}, bad: []string{"[': b']"}},
	"routes[].response_fields.remove": {in: inRoute, good: []string{"[Server]"}, bad: []string{"['']"}},
	"routes[].respond.status":         {in: inRespond, good: []string{"200", "599"}, bad: []string{"0", "199", "600", "ok", "''"}},
	"routes[].respond.body":           {in: "[{name: all, respond: {status: 200, KEY: VALUE}}]", good: []string{"closed", "''"}, bad: []string{"\"a\\x01\"", "[a]", strings.Repeat("b", 4097)}},
	"routes[].respond.body_file":      {in: "[{name: all, respond: {status: 200, KEY: VALUE}}]", good: []string{"$USERS"}, bad: []string{"$DIR", "$DIR/none", "/dev/zero", "/dev/null"}},
}

// elementCases returns the cases of TestEveryKeyAtItsEdges for the keys of elements.
func elementCases(t *testing.T, upstream string) (cases []*trial) {
	for _, k := range configs.ElementKeys() {
		own, known := ofElement[k.Path]
		if !known {
			t.Errorf("%s has no values at its limits: add an entry to ofElement", k.Path)
			continue
		}
		structured := "tls.certificates"
		if !strings.HasPrefix(k.Path, structured) {
			structured = k.Path[:strings.IndexAny(k.Path, ".[")]
		}
		path := strings.Replace(k.Path, "upstreams.NAME", "upstreams[]", 1)
		name := path[strings.LastIndex(path, "[].")+len("[]."):]
		add := func(mustBe outcome, value string) {
			element := strings.Replace(own.in, "KEY: VALUE", nested(name)+": "+value, 1)
			c := newTrial(t, upstream, fmt.Sprintf("%s: %.60s", k.Path, value), append(settingsOf(structured), structured+": "+element)...)
			c.key, c.value, c.mustBe = structured, element, mustBe
			cases = append(cases, c)
		}
		for _, value := range own.good {
			add(accepted, value)
		}
		for _, value := range own.bad {
			add(refused, value)
		}
	}
	return cases
}

// nested removes the name of the mapping, which inRespond and similar elements already contain.
func nested(name string) string { return strings.TrimPrefix(name, "respond.") }
