package configs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pemFiles writes a certificate and its key into dir/name.crt and dir/name.key.
func pemFiles(t *testing.T, dir, name string, key crypto.Signer, begin, end time.Time) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: end, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: cert}, ".key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const bcryptLine = "bob:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n"

// trafficDir makes a directory with the files that the tests use.
func trafficDir(t *testing.T) string {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	pemFiles(t, dir, "good", ecKey(t), now.Add(-time.Hour), now.Add(90*24*time.Hour))
	pemFiles(t, dir, "other", ecKey(t), now.Add(-time.Hour), now.Add(90*24*time.Hour))
	pemFiles(t, dir, "ending", ecKey(t), now.Add(-time.Hour), now.Add(24*time.Hour))
	pemFiles(t, dir, "expired", ecKey(t), now.Add(-2*time.Hour), now.Add(-time.Hour))
	pemFiles(t, dir, "early", ecKey(t), now.Add(time.Hour), now.Add(2*time.Hour))
	t.Setenv("GODEBUG", "rsa1024min=0") // otherwise the standard library refuses to make weak keys
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	pemFiles(t, dir, "weak", weak, now.Add(-time.Hour), now.Add(time.Hour))
	for name, content := range map[string]string{
		"text": "nothing\n", "empty": "", "users": "# users\n\n" + bcryptLine, "page.html": "<p>closed\n",
		"md5": bcryptLine + "eve:$apr1$x$y\n", "sha1": "eve:{SHA}abc=\n", "plain": "eve:secret-word\n", "sha512": "eve:$6$x$y\n", "twice": bcryptLine + bcryptLine,
		"damaged": "eve:$2y$05$short\n", "costly": strings.Replace(bcryptLine, "$05$", "$31$", 1), "nothing": "# nobody\n", "nocolon": "eve\n", "noname": ":x\n",
		"encrypted.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readWithFiles is readEdge, but also reads the files that the configuration names. In the configuration and in errors, $ stands for dir.
func readWithFiles(dir, text string) (*Config, []*Error) {
	c := Default()
	l := newLoader(&c)
	l.readYAML("f", []byte(strings.ReplaceAll(text, "$", dir)))
	l.oneCertificate(&c)
	l.readTrafficFiles(&c)
	v := validator{c: &c, bad: l.bad, errs: l.errs}
	v.run()
	for _, err := range v.errs {
		err.Msg = strings.ReplaceAll(err.Msg, dir, "$")
	}
	return &c, v.errs
}

// TestFilesOfTraffic: an error about a file has the position of the key that names the file, and reveals nothing of a secret.
func TestFilesOfTraffic(t *testing.T) {
	dir := trafficDir(t)
	t.Chdir(dir) // errors show relative names as absolute ones
	pair := func(cert, key string) string {
		return "tls: {certificates: [{cert_file: " + cert + ", key_file: " + key + "}]}\n"
	}
	auth := func(file string) string {
		return "upstreams: {web: http://a}\nroutes: [{name: a, to: web, auth_file: " + file + "}]\n"
	}
	group := func(keys string) string {
		return "upstreams: {web: {servers: [https://a], tls: {" + keys + "}}}\nroutes: [{name: a, to: web}]\n"
	}
	for name, c := range map[string]struct{ yaml, want string }{
		"good":              {pair("$/good.crt", "$/good.key"), ""},
		"one":               {"tls: {cert_file: $/good.crt, key_file: $/good.key, client_ca_file: $/other.crt}\n", ""},
		"missing":           {pair("$/none", "$/good.key"), "tls.certificates[0].cert_file: cannot read the file: stat $/none: no such file"},
		"a directory":       {pair("$", "$/good.key"), "cert_file: cannot read the file: $ is a directory"},
		"missing, relative": {pair("none.crt", "$/good.key"), "tls.certificates[0].cert_file: cannot read the file: stat $/none.crt: no such file"},
		"missing key":       {pair("$/good.crt", "$/none"), "tls.certificates[0].key_file: cannot read the file"},
		"no certificate":    {pair("$/text", "$/good.key"), "tls.certificates[0].cert_file: $/text has no PEM certificate"},
		"key for cert":      {pair("$/good.key", "$/good.key"), "cert_file: $/good.key has no PEM certificate"},
		"cert for key":      {pair("$/good.crt", "$/good.crt"), "key_file: $/good.crt has no PEM key"},
		"encrypted":         {pair("$/good.crt", "$/encrypted.key"), "key_file: $/encrypted.key has an encrypted key"},
		"mismatched":        {pair("$/good.crt", "$/other.key"), "f:1:"},
		"mismatched, names": {pair("$/good.crt", "$/other.key"), "tls.certificates[0].key_file: $/other.key is not the key of $/good.crt"},
		"one, mismatched":   {"tls: {cert_file: $/good.crt, key_file: $/other.key}\n", "tls.key_file: $/other.key is not the key of $/good.crt"},
		"expired":           {pair("$/expired.crt", "$/expired.key"), "cert_file: $/expired.crt expired on 2"},
		"early":             {pair("$/early.crt", "$/early.key"), "cert_file: $/early.crt is not valid before 2"},
		"weak":              {pair("$/weak.crt", "$/weak.key"), "cert_file: $/weak.crt has an RSA key of 1024 bits"},
		"client CAs":        {"tls: {cert_file: $/good.crt, key_file: $/good.key, client_ca_file: $/text}\n", "tls.client_ca_file: $/text has no PEM certificate"},
		"ACME's CA":         {"tls: {acme: {hosts: [a], directory: https://a, ca_file: $/empty}}\n", "tls.acme.ca_file: $/empty has no PEM certificate"},

		"upstream CA":           {group("ca_file: $/good.crt, cert_file: $/good.crt, key_file: $/good.key"), ""},
		"upstream CA, none":     {group("ca_file: $/good.key"), "upstreams.web.tls.ca_file: $/good.key has no PEM certificate"},
		"upstream key":          {group("cert_file: $/good.crt, key_file: $/other.key"), "upstreams.web.tls.key_file: $/other.key is not the key of"},
		"upstream cert expired": {group("cert_file: $/expired.crt, key_file: $/expired.key"), "upstreams.web.tls.cert_file: $/expired.crt expired"},

		"users":         {auth("$/users"), ""},
		"users missing": {auth("$/none"), "f:2:"},
		"md5":           {auth("$/md5"), "routes[0].auth_file: $/md5, line 2: the password of \"eve\" is an MD5 hash, and only bcrypt is accepted: make the line again with htpasswd -B"},
		"sha1":          {auth("$/sha1"), "$/sha1, line 1: the password of \"eve\" is a SHA-1 hash"},
		"plain":         {auth("$/plain"), "$/plain, line 1: the password of \"eve\" is in plain text"},
		"sha512":        {auth("$/sha512"), "a different kind of hash"},
		"damaged":       {auth("$/damaged"), "a damaged bcrypt hash"},
		"costly":        {auth("$/costly"), "the bcrypt cost of \"bob\" is 31: it must be from 4 to 16"},
		"user twice":    {auth("$/twice"), "$/twice, line 2, has user \"bob\" a second time"},
		"nobody":        {auth("$/nothing"), "$/nothing has no user"},
		"no colon":      {auth("$/nocolon"), "line 1, has no NAME:HASH"},
		"no name":       {auth("$/noname"), "line 1, has no NAME:HASH"},

		"page":         {"routes: [{name: a, respond: {status: 503, body_file: $/page.html}}]\n", ""},
		"page missing": {"routes: [{name: a, respond: {status: 503, body_file: $/none}}]\n", "routes[0].respond.body_file: cannot read the file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := readWithFiles(dir, c.yaml)
			switch {
			case c.want == "" && len(errs) > 0:
				t.Error(errs)
			case c.want != "" && (len(errs) != 1 || errs[0].Line == 0 || !strings.Contains(errs[0].Error(), c.want)):
				t.Errorf("got  %v\nwant %s", errs, c.want)
			case c.want != "" && strings.Contains(errs[0].Error(), "secret-word"):
				t.Error("the error has the password in it")
			}
		})
	}
}

// TestContentsOfFiles: the configuration includes the contents of the files, and a reload notices when they change.
func TestContentsOfFiles(t *testing.T) {
	dir := trafficDir(t)
	const text = `
tls: {cert_file: $/good.crt, key_file: $/good.key, client_ca_file: $/other.crt}
upstreams: {web: {servers: [https://a], tls: {ca_file: $/other.crt, cert_file: $/good.crt, key_file: $/good.key}}}
routes:
  - {name: closed, path: /closed, respond: {status: 503, body_file: $/page.html}}
  - {name: all, to: web, auth_file: $/users}
`
	read := func() *Config {
		t.Helper()
		c, errs := readWithFiles(dir, text)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		return c
	}
	before := read()
	web := before.Upstreams[0].TLS
	for what, content := range map[string]string{
		"client CAs": before.TLS.ClientCA, "CA": web.CA, "certificate": web.Cert, "key": string(web.Key), "users": string(before.Routes[1].Auth),
		"page": before.Routes[0].Respond.Content(),
	} {
		if content == "" {
			t.Errorf("%s: nothing was read", what)
		}
	}
	if _, change := Reload(before, read()); len(change.Traffic)+len(change.Books)+len(change.Restart) > 0 {
		t.Errorf("nothing changed, and a reload reports %+v", change)
	}
	now := time.Now()
	for file, key := range map[string]string{"other": "tls.client_ca_file", "page.html": routesKey, "users": routesKey} {
		if file == "other" {
			pemFiles(t, dir, file, ecKey(t), now.Add(-time.Hour), now.Add(time.Hour))
		} else if err := os.WriteFile(filepath.Join(dir, file), []byte(bcryptLine+"# changed\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		after := read()
		if _, change := Reload(before, after); !slices.Contains(change.Traffic, key) || len(change.Restart)+len(change.Books) > 0 {
			t.Errorf("%s changed, and a reload reports %+v", file, change)
		}
		before = after
	}
}

// TestReloadOfTheListener: while wayside is running, the TLS settings can be changed, but TLS cannot be switched on or off.
func TestReloadOfTheListener(t *testing.T) {
	dir := trafficDir(t)
	read := func(text string) *Config {
		t.Helper()
		c, errs := readWithFiles(dir, "upstream: http://a\n"+text)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		return c
	}
	plain, good := read(""), read("tls: {cert_file: $/good.crt, key_file: $/good.key, hsts: 1d}\n")
	other := read("tls: {cert_file: $/other.crt, key_file: $/other.key}\nredirect_http: :80\n")
	merged, change := Reload(plain, good)
	if merged.TLS.Enabled() || merged.TLS.HSTS != 0 || !slices.Equal(change.Restart, []string{"tls.cert_file", "tls.key_file", "tls.certificates", "tls.hsts"}) || len(change.Traffic) > 0 {
		t.Errorf("%+v, %+v", merged.TLS, change)
	}
	merged, change = Reload(good, plain)
	if !merged.TLS.Enabled() || len(change.Restart) != 4 || len(change.Traffic) > 0 || merged.Validate() != nil {
		t.Errorf("%+v, %+v", merged.TLS, change)
	}
	merged, change = Reload(good, other)
	want := []string{"tls.cert_file", "tls.key_file", "tls.certificates", "tls.hsts"}
	if merged.TLS.Certificates[0].CertFile != dir+"/other.crt" || !slices.Equal(change.Traffic, want) || !slices.Equal(change.Restart, []string{"redirect_http"}) || merged.RedirectHTTP != "" {
		t.Errorf("%+v, %+v", merged, change)
	}
}

// TestWarnings: what is probably a mistake is reported with its position, and prevents nothing.
func TestWarnings(t *testing.T) {
	dir := trafficDir(t)
	const groups = "upstreams: {web: http://a, api: http://b}\n"
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"none":             {groups + "routes: [{name: a, path: /a/*, to: api}, {name: b, to: web}]\n", nil},
		"unused group":     {groups + "routes: [{name: a, to: web}]\n", []string{"f:1:28: upstreams.api: no route sends requests to group api"}},
		"weight 0":         {groups + "routes: [{name: a, to: {web: 1, api: 0}}]\n", []string{"upstreams.api: no route sends"}},
		"after everything": {groups + "routes: [{name: a, to: {web: 1, api: 1}}, {name: b, path: /b, to: web}]\n", []string{"f:2:43: routes[1]: route b can never match, because route a before it takes all"}},
		"same path":        {groups + "routes: [{name: a, path: /a, to: {web: 1, api: 1}}, {name: b, path: /a, redirect: /x}]\n", []string{"routes[1]"}},
		"below a prefix": {
			groups + "routes: [{name: a, path: /a/*, to: {web: 1, api: 1}}, {name: b, path: /a, redirect: /x}, {name: c, path: /a/b/*, redirect: /x}]\n",
			[]string{"routes[1]", "routes[2]"},
		},
		"beside a prefix":   {groups + "routes: [{name: a, path: /a/*, to: {web: 1, api: 1}}, {name: b, path: /ab, redirect: /x}, {name: c, redirect: https://x}]\n", nil},
		"host below":        {groups + "routes: [{name: a, host: '*.a', to: {web: 1, api: 1}}, {name: b, host: x.a, redirect: https://x}]\n", []string{"routes[1]"}},
		"host itself":       {groups + "routes: [{name: a, host: '*.a', to: {web: 1, api: 1}}, {name: b, host: a, redirect: https://x}]\n", nil},
		"fewer methods":     {groups + "routes: [{name: a, methods: [GET, POST], to: {web: 1, api: 1}}, {name: b, methods: [GET], redirect: https://x}]\n", []string{"routes[1]"}},
		"more methods":      {groups + "routes: [{name: a, methods: [GET], to: {web: 1, api: 1}}, {name: b, redirect: https://x}]\n", nil},
		"more headers":      {groups + "routes: [{name: a, headers: {X-A: b}, to: {web: 1, api: 1}}, {name: b, headers: {x-a: b, X-C: d}, redirect: https://x}]\n", []string{"routes[1]"}},
		"another header":    {groups + "routes: [{name: a, headers: {X-A: b}, to: {web: 1, api: 1}}, {name: b, headers: {X-A: c}, redirect: https://x}]\n", nil},
		"ending":            {"upstream: http://a\ntls: {cert_file: $/ending.crt, key_file: $/ending.key}\n", []string{"f:2:18: tls.cert_file: the certificate expires on 2"}},
		"target of OPTIONS": {groups + "routes: [{name: a, path: /*, to: {web: 1, api: 1}}, {name: b, redirect: https://x}]\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, errs := readWithFiles(dir, c.yaml)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			got := cfg.Warnings()
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %q", got, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(got[i].Error(), w) {
					t.Errorf("got %v, want %s", got[i], w)
				}
			}
		})
	}
}
