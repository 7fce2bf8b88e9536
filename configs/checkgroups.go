package configs

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strings"
)

// groups checks that the keys of each group are consistent.
func (v *validator) groups() {
	c := v.c
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		path := groupPath(u.Name)
		if v.bad[path] {
			continue
		}
		if msg := checkLabel(u.Name); msg != "" {
			v.failf(path, "%s", msg)
			continue
		}
		v.groupServers(u, path)
		v.groupHealth(u, path)
		v.groupTLS(u, path)
	}
	v.plainServers()
}

// groupServers checks that a group has servers and lists each of them only once.
func (v *validator) groupServers(u *Upstream, path string) {
	switch servers := path + ".servers"; {
	case !v.sound(servers, path+".dns"):
	case len(u.Servers) > 0 && u.DNS != "":
		v.failf(path+".dns", "cannot be combined with servers: keep one of the two")
	case len(u.Servers) == 0 && u.DNS == "":
		v.failf(path, "has neither servers nor dns: write servers: [http://host:port], or dns: host:port")
	case len(u.Servers) > 0 && !slices.ContainsFunc(u.Servers, func(s Server) bool { return s.Weight != 0 }):
		v.failf(servers, "all weights are 0, so no server would get requests: give one a weight")
	}
	seen := map[string]bool{}
	for i, s := range u.Servers {
		at := elementPath(path+".servers", i)
		address := serverAddress(s.URL)
		if seen[address] && v.sound(at) {
			v.failf(at, "%s is already in the group: give it a higher weight instead", s.URL)
		}
		seen[address] = true
	}
}

// plainServers rejects a server that is listed twice in `upstream`.
func (v *validator) plainServers() {
	seen := map[string]bool{}
	for i, s := range v.c.Upstream {
		address := serverAddress(s)
		if seen[address] && v.sound(upstreamKey) {
			v.failElement(upstreamKey, i, "%s is already in the list: remove one; upstreams has weights", s)
		}
		seen[address] = true
	}
}

// serverAddress returns the address at which a server listens: http://a, http://A:80/ and https://a:80 are the same server.
func serverAddress(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return s
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), defaultPorts[u.Scheme]))
}

func (v *validator) groupHealth(u *Upstream, path string) {
	every, timeout := path+".health.every", path+".health.timeout"
	if u.Health.Path == "" {
		for _, name := range []string{"every", "timeout", "fails", "passes"} {
			if at := path + ".health." + name; set(v.c, at) && v.sound(at) && !v.isDefault(at) {
				v.failf(at, "has no effect without health.path: add a path, such as /ready")
			}
		}
		return
	}
	if v.sound(every, timeout) && u.Health.Timeout > u.Health.Every {
		v.failAt([]string{timeout, every}, "health.timeout (%v) is longer than health.every (%v), so checks would overlap: lower it", u.Health.Timeout, u.Health.Every)
	}
}

// isDefault reports whether a key of a group has its default value. The key may still be set explicitly, because `config print` also
// writes default values.
func (v *validator) isDefault(path string) bool {
	all, standard := elementKeys(v.c), DefaultUpstream()
	i := slices.IndexFunc(all, func(k elementKey) bool { return k.path == path })
	for _, k := range keysOf("", groupsKey+".NAME", upstreamKeys(&standard)) {
		if i >= 0 && k.pattern == all[i].pattern {
			return text(k.field) == text(all[i].field)
		}
	}
	return false
}

// groupTLS checks the TLS keys of a group. A group with dns uses TLS if one of these keys is set.
func (v *validator) groupTLS(u *Upstream, path string) {
	t := u.TLS
	secure := slices.ContainsFunc(u.Servers, func(s Server) bool { return strings.HasPrefix(s.URL, "https://") })
	if u.DNS == "" && !secure || strings.HasPrefix(u.DNS, "h2c://") {
		for _, k := range upstreamKeys(u) {
			if strings.HasPrefix(k.path, "tls.") && set(v.c, path+"."+k.path) && filled(k.field) {
				v.failf(path+"."+k.path, "has no effect, because no server of the group begins with https://: change the servers, or leave it out")
			}
		}
		return
	}
	if t.Insecure && t.CAFile != "" {
		v.failf(path+".tls.insecure", "contradicts tls.ca_file: remove one of the two")
	}
	v.pair(t.CertFile, t.KeyFile, path+".tls.cert_file", path+".tls.key_file")
}

// pair rejects a certificate without its key, and a key without its certificate.
func (v *validator) pair(cert, key, certPath, keyPath string) {
	last := func(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
	switch {
	case cert != "" && key == "":
		v.failf(certPath, "needs %s as well", last(keyPath))
	case cert == "" && key != "":
		v.failf(keyPath, "needs %s as well", last(certPath))
	}
}

// listenerTLS checks that the keys for TLS to clients are consistent.
func (v *validator) listenerTLS() {
	t := v.c.TLS
	const certificate = "set tls.cert_file and tls.key_file, tls.certificates or tls.acme.hosts"
	if !t.Enabled() && v.sound("tls.certificates", "tls.cert_file", "tls.key_file", "tls.acme.hosts") {
		if v.c.RedirectHTTP != "" {
			v.failf("redirect_http", "redirects to HTTPS, but the listener has no certificate: %s", certificate)
		}
		if t.ClientCAFile != "" {
			v.failf("tls.client_ca_file", "needs a certificate for the listener: %s", certificate)
		}
		if t.HSTS != 0 {
			v.failf("tls.hsts", "needs a certificate for the listener: %s", certificate)
		}
	}
	if len(t.ACME.Hosts) == 0 {
		for path, value := range map[string]string{"email": t.ACME.Email, "directory": t.ACME.Directory, "ca_file": t.ACME.CAFile} {
			if value != "" {
				v.failf("tls.acme."+path, "has no effect without tls.acme.hosts: list the host names")
			}
		}
	} else if t.ACME.CAFile != "" && t.ACME.Directory == "" {
		v.failf("tls.acme.ca_file", "needs tls.acme.directory: it is for an authority of your own")
	}
	seen := map[Certificate]bool{}
	for i, c := range t.Certificates {
		if seen[c] {
			v.failf(elementPath("tls.certificates", i), "is already in the list: remove one")
		}
		seen[c] = true
	}
}
