package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// readEdge loads a configuration file without reading the files that it names.
func readEdge(text string) (*Config, []*Error) {
	c := Default()
	l := newLoader(&c)
	l.readYAML("f", []byte(text))
	l.oneCertificate(&c)
	v := validator{c: &c, bad: l.bad, errs: l.errs}
	v.run()
	return &c, v.errs
}

// edgeFile contains every structured key.
const edgeFile = `
listen: :443
redirect_http: :80
proxy_protocol: [10.0.0.0/8]
tls:
  certificates: [{cert_file: a.crt, key_file: a.key}]
  client_ca_file: clients.pem
  acme: {email: ops@example.org, hosts: [example.org], directory: https://acme.example/dir, ca_file: acme.pem}
upstreams:
  web: http://10.0.0.5:3000
  api:
    servers: [http://10.0.0.7:8080, {url: http://10.0.0.8:8080, weight: 2}]
    balance: least
    sticky: {cookie: NAME}
    health: {path: /ready, every: 5s, timeout: 2s, fails: 3, passes: 2}
    eject: {after: 5, for: 30s, at_most: 50%}
    retries: 1
    conns_max: 200
    tls: {ca_file: , cert_file: , key_file: , server_name: , insecure: false}
  local: {dns: api.local:8080}
routes:
  - {name: old, host: old.example.org, redirect: https://example.org}
  - {name: api, host: "*.example.org", path: /api/*, methods: [GET, POST], headers: {X-Beta: "1"}, to: {api: 90, web: 10}, response_timeout: 60s}
  - {name: admin, path: /admin/*, allow: [10.0.0.0/8], auth_file: users.htpasswd, to: web}
  - {name: closed, path: /closed, respond: {status: 503, body_file: closed.html}}
  - {name: local, path: /local/*, to: local, body_bytes_max: 0, request_fields: {set: ["X-A: b"]}}
  - {name: rest, to: web, strip_prefix: /app, rewrite_host: true}
`

func TestStructuredKeys(t *testing.T) {
	c, errs := readEdge(edgeFile)
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	web, api, local := DefaultUpstream(), DefaultUpstream(), DefaultUpstream()
	web.Name, web.Servers = "web", []Server{{"http://10.0.0.5:3000", 1}}
	api.Name, api.Servers = "api", []Server{{"http://10.0.0.7:8080", 1}, {"http://10.0.0.8:8080", 2}}
	api.Balance, api.Sticky.Cookie, api.ConnsMax = "least", "NAME", 200
	api.Health.Path = "/ready"
	local.Name, local.DNS = "local", "api.local:8080"
	minute, unlimited := Minute, Bytes(0)
	want := []Route{
		{Name: "old", Host: "old.example.org", Redirect: "https://example.org"},
		{
			Name: "api", Host: "*.example.org", Path: "/api/*", Methods: []string{"GET", "POST"}, Headers: map[string]string{"X-Beta": "1"},
			To: []Target{{"api", 90}, {"web", 10}}, ResponseTimeout: &minute,
		},
		{Name: "admin", Path: "/admin/*", Allow: []string{"10.0.0.0/8"}, AuthFile: "users.htpasswd", To: []Target{{"web", 1}}},
		{Name: "closed", Path: "/closed", Respond: &Respond{Status: 503, BodyFile: "closed.html"}},
		{Name: "local", Path: "/local/*", To: []Target{{"local", 1}}, BodyBytesMax: &unlimited, RequestFields: Fields{Set: []string{"X-A: b"}}},
		{Name: "rest", To: []Target{{"web", 1}}, StripPrefix: "/app", RewriteHost: true},
	}
	for _, diff := range []string{cmp.Diff([]Upstream{web, api, local}, c.Upstreams), cmp.Diff(want, c.Routes)} {
		if diff != "" {
			t.Error(diff)
		}
	}
	if c.TLS.Certificates[0] != (Certificate{"a.crt", "a.key"}) || c.TLS.ClientCAFile != "clients.pem" || c.TLS.ACME.Hosts[0] != "example.org" || !c.TLS.Enabled() {
		t.Errorf("%+v", c.TLS)
	}
	if c.RedirectHTTP != ":80" || c.ProxyProtocol[0] != "10.0.0.0/8" || c.Destinations() != "web, api, local" {
		t.Errorf("%+v", c)
	}
}

// TestPrintedElementsReadBack: the output of config print loads to the same configuration.
func TestPrintedElementsReadBack(t *testing.T) {
	c, _ := readEdge(edgeFile)
	var out strings.Builder
	if err := Print(&out, c); err != nil {
		t.Fatal(err)
	}
	again, errs := readEdge(out.String())
	if len(errs) > 0 {
		t.Fatalf("%v\n%s", errs, out.String())
	}
	c.origins, again.origins = nil, nil
	normalize(c)
	normalize(again)
	if diff := cmp.Diff(c, again, cmp.AllowUnexported(Config{}, TLS{})); diff != "" {
		t.Errorf("%s\n%s", diff, out.String())
	}
}

// TestUpstreamForms: one URL or a list in the file, commas in the environment and in flags.
func TestUpstreamForms(t *testing.T) {
	for name, o := range map[string]LoadOptions{
		"scalar":      {File: writeFile(t, "upstream: http://a:1\n")},
		"list":        {File: writeFile(t, "upstream: [http://a:1]\n")},
		"environment": {Environ: []string{"WAYSIDE_UPSTREAM=http://a:1"}},
		"flag":        {Flags: map[string]string{"upstream": "http://a:1"}},
	} {
		if c, err := Load(o); err != nil || len(c.Upstream) != 1 || c.Upstream[0] != "http://a:1" {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if c, errs := readEdge("upstream: [http://a:1, 'https://b', 'h2c://c:2', 'unix:///d']\n"); len(errs) > 0 || c.Destinations() != "http://a:1, https://b, h2c://c:2, unix:///d" {
		t.Errorf("%v, %v", c, errs)
	}
}

// TestOneCertificate: --tls-cert and --tls-key are short for a list with one element, and replace a list in the file.
func TestOneCertificate(t *testing.T) {
	list := "tls: {certificates: [{cert_file: a.crt, key_file: a.key}]}\n"
	for name, o := range map[string]LoadOptions{
		"flags":                {Flags: map[string]string{"tls.cert_file": "b.crt", "tls.key_file": "b.key"}},
		"environment":          {Environ: []string{"WAYSIDE_TLS_CERT=b.crt", "WAYSIDE_TLS_KEY=b.key"}},
		"environment, as keys": {Environ: []string{"WAYSIDE_TLS_CERT_FILE=b.crt", "WAYSIDE_TLS_KEY_FILE=b.key"}},
		"file":                 {File: writeFile(t, "tls: {cert_file: b.crt, key_file: b.key}\n")},
		"over a file":          {File: writeFile(t, list), Environ: []string{"WAYSIDE_TLS_CERT=b.crt", "WAYSIDE_TLS_KEY=b.key"}},
	} {
		c := Default()
		l := newLoader(&c)
		if o.File != "" {
			l.readFile(o.File)
		}
		l.readEnviron(environMap(o.Environ), envPrefix, SourceEnvironment)
		l.readFlags(o.Flags, nil)
		l.oneCertificate(&c)
		if len(l.errs) > 0 || len(c.TLS.Certificates) != 1 || c.TLS.Certificates[0] != (Certificate{"b.crt", "b.key"}) {
			t.Errorf("%s: %+v, %v", name, c.TLS, l.errs)
		}
	}
	for text, want := range map[string]string{
		"tls: {cert_file: b.crt}\n":                          "f:1:18: tls.cert_file: needs tls.key_file as well",
		"tls: {key_file: b.crt}\n":                           "f:1:17: tls.key_file: needs tls.cert_file as well",
		list + "tls.cert_file: b.crt\ntls.key_file: b.key\n": "f:2:16: tls.cert_file: tls.certificates has certificates too",
	} {
		c := Default()
		l := newLoader(&c)
		l.readYAML("f", []byte(text))
		l.oneCertificate(&c)
		if len(l.errs) != 1 || !strings.HasPrefix(l.errs[0].Error(), want) {
			t.Errorf("%q: %v, want %s", text, l.errs, want)
		}
	}
}

// FuzzStructuredKeys: every error about an arbitrary file has a position, and a file without errors is printed in a form that loads to the same
// configuration.
func FuzzStructuredKeys(f *testing.F) {
	f.Add(edgeFile)
	f.Add("upstreams: &u {a: *u, b: {servers: &s [*s, {url: *s}]}}\nroutes: &r [*r, {to: *r, respond: *r}]\n")
	f.Add("upstreams: {web: http://a}\nroutes: [{name: a, to: {web: 1}, headers: {X-A: '1', x-a: '2'}, respond: {status: 200}}]\n")
	f.Add("tls: {certificates: [{cert_file: a}, ~, [], {? [b] : c}]}\nupstream: [http://a, 1, {}]\nroutes: [~]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, errs := readEdge(text)
		for _, e := range errs {
			if e.Msg == "" || e.File == "f" && e.Line == 0 && strings.Contains(e.Key, "[") {
				t.Errorf("error without message or place: %#v", e)
			}
		}
		_ = c.Warnings()
		if len(errs) > 0 {
			return
		}
		var out strings.Builder
		if err := Print(&out, c); err != nil {
			t.Fatal(err)
		}
		again, errs := readEdge(out.String())
		if len(errs) > 0 {
			t.Fatalf("%v\n%s", errs, out.String())
		}
		c.origins, again.origins = nil, nil
		normalize(c)
		normalize(again)
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(Config{}, TLS{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s\n%s", diff, out.String())
		}
	})
}
