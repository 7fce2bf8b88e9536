package configs

import "slices"

// TLS configures TLS for client connections. The listener speaks TLS if there is a certificate or an ACME host; see [TLS.Enabled].
type TLS struct {
	Certificates []Certificate // by server name; the first is the default
	ClientCAFile string        // PEM certificates; if set, clients must present a certificate that one of them has signed
	ACME         ACME
	HSTS         Duration // max-age in Strict-Transport-Security; 0 = the field is not sent

	ClientCA string // read from ClientCAFile

	certFile, keyFile string // short for Certificates with one element; see [loader.oneCertificate]
}

// Certificate names the PEM files with a certificate and its chain, and with its key.
type Certificate struct{ CertFile, KeyFile string }

// ACME configures how certificates are obtained from an authority.
type ACME struct {
	Email     string
	Hosts     []string // host names for which certificates are requested, and for no others
	Directory string   // URL of the authority; empty = Let's Encrypt
	CAFile    string   // PEM certificates to trust for Directory, in addition to the system's

	CA string // read from CAFile
}

// Enabled reports whether the listener speaks TLS.
func (t TLS) Enabled() bool { return len(t.Certificates) > 0 || len(t.ACME.Hosts) > 0 }

// hstsMax is the longest max-age that is useful. The preload lists of browsers require one year.
const hstsMax = 10 * 365 * 24 * Hour

// tlsKeys binds the keys for TLS to clients, for the redirect to HTTPS and for the PROXY protocol.
func tlsKeys(c *Config) []key {
	t := &c.TLS
	return []key{
		{"redirect_http", &c.RedirectHTTP, "A second address, for plain HTTP, on which wayside redirects every request to HTTPS and responds to ACME challenges. Empty = none.", optional(checkAddress)},
		{"proxy_protocol", &c.ProxyProtocol, "Addresses or networks (10.0.0.0/8) of load balancers that speak the PROXY protocol. Connections from these addresses must begin with a PROXY header (version 1 or 2), which names the client. All other connections must not begin with one.", textCheck(checkNetwork)},
		{"tls.cert_file", &t.certFile, "File with a certificate (PEM, with its chain). If it is set, wayside serves TLS on `listen`. This key and `tls.key_file` are a short form of `tls.certificates` with one element.", check{}},
		{"tls.key_file", &t.keyFile, "File with the key of `tls.cert_file`.", check{}},
		{"tls.certificates", &t.Certificates, "Certificates: a list of `{cert_file: FILE, key_file: FILE}`. The server name that the client sends selects one; the first is the default. The files are read again when they change.", check{}},
		{"tls.client_ca_file", &t.ClientCAFile, "File with PEM certificates. If it is set, clients must present a certificate that one of these has signed.", check{}},
		{"tls.acme.email", &t.ACME.Email, "Address at which the certificate authority can reach you.", optional(checkEmail)},
		{"tls.acme.hosts", &t.ACME.Hosts, "Host names for which wayside requests certificates from an ACME authority and renews them. It never requests a certificate for any other name.", textCheck(checkACMEHost)},
		{"tls.acme.directory", &t.ACME.Directory, "URL of the authority's directory; empty = Let's Encrypt.", optional(checkDirectoryURL)},
		{"tls.acme.ca_file", &t.ACME.CAFile, "File with PEM certificates to trust for `tls.acme.directory`, in addition to those of the system.", check{}},
		{"tls.hsts", &t.HSTS, "Tell browsers to use only HTTPS for this long (Strict-Transport-Security). Browsers that have received this field obey it until this time has passed, even if you remove the key. 0 = the field is not sent.", between[Duration](0, hstsMax)},
	}
}

// certificateKeys binds the keys of a certificate to its fields.
func certificateKeys(c *Certificate) []key {
	return []key{
		{"cert_file", &c.CertFile, "File with the certificate and its chain, in PEM format.", textCheck(checkFileName)},
		{"key_file", &c.KeyFile, "File with the key of the certificate, in PEM format.", textCheck(checkFileName)},
	}
}

// oneCertificate makes tls.cert_file and tls.key_file the only element of tls.certificates. If they come from the environment or a flag, they
// replace a list in the file.
func (l *loader) oneCertificate(c *Config) {
	const cert, key, list = "tls.cert_file", "tls.key_file", "tls.certificates"
	t := &c.TLS
	one := Certificate{t.certFile, t.keyFile}
	switch {
	case one == Certificate{}:
	case t.certFile == "":
		l.failf(l.origins[key], key, "needs %s as well", cert)
	case t.keyFile == "":
		l.failf(l.origins[cert], cert, "needs %s as well", key)
	case len(t.Certificates) > 0 && !slices.Equal(t.Certificates, []Certificate{one}) && l.origins[cert].source == l.origins[list].source:
		l.failf(l.origins[cert], cert, "%s has certificates too: add this one to that list", list)
	default:
		t.Certificates, l.origins[list] = []Certificate{one}, l.origins[cert]
	}
}
