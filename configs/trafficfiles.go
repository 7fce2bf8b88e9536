package configs

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// This file reads the files that are named in the keys of listeners, groups and routes. They are read and checked when wayside starts and
// on each reload, so that a bad file is rejected with the position of its key.

// readTrafficFiles reads all these files. It skips keys that have errors.
func (l *loader) readTrafficFiles(c *Config) {
	c.expiries = map[string]time.Time{}
	for i, pair := range c.TLS.Certificates {
		at := elementPath("tls.certificates", i) + "."
		if c.TLS.certFile != "" {
			at = "tls."
		}
		l.readPair(c, at+"cert_file", at+"key_file", pair.CertFile, pair.KeyFile)
	}
	l.readCAs("tls.client_ca_file", c.TLS.ClientCAFile, &c.TLS.ClientCA)
	l.readCAs("tls.acme.ca_file", c.TLS.ACME.CAFile, &c.TLS.ACME.CA)
	for i := range c.Upstreams {
		t, at := &c.Upstreams[i].TLS, groupPath(c.Upstreams[i].Name)+".tls."
		l.readCAs(at+"ca_file", t.CAFile, &t.CA)
		cert, key := l.readPair(c, at+"cert_file", at+"key_file", t.CertFile, t.KeyFile)
		t.Cert, t.Key = string(cert), Secret(key)
	}
	for i := range c.Routes {
		r, at := &c.Routes[i], elementPath(routesKey, i)
		l.readUsers(at+".auth_file", r.AuthFile, &r.Auth)
		if r.Respond != nil && r.Respond.BodyFile != "" {
			if body, ok := l.readKeyFile(at+".respond.body_file", r.Respond.BodyFile); ok {
				r.Respond.FileBody = string(body)
			}
		}
	}
}

// readCAs reads a file with certificates to trust. Its content is part of the configuration. So a reload detects new certificates, and both
// processes trust the same ones.
func (l *loader) readCAs(path, file string, into *string) {
	if file == "" {
		return
	}
	data, ok := l.readKeyFile(path, file)
	if !ok {
		return
	}
	if msg := checkCertificates(data); msg != "" {
		l.failf(l.origins[path], path, "%s %s", file, msg)
		return
	}
	*into = string(data)
}

// readPair reads a certificate and its private key and checks that they belong together. An error has the position of the configuration key
// whose file is wrong.
func (l *loader) readPair(c *Config, certPath, keyPath, certFile, keyFile string) (cert, key []byte) {
	if certFile == "" || keyFile == "" {
		return nil, nil
	}
	cert, certOK := l.readKeyFile(certPath, certFile)
	key, keyOK := l.readKeyFile(keyPath, keyFile)
	if !certOK || !keyOK {
		return nil, nil
	}
	leaf, msg := checkLeaf(cert, time.Now())
	if msg != "" {
		l.failf(l.origins[certPath], certPath, "%s %s", certFile, msg)
		return nil, nil
	}
	if msg := checkKeyFile(key); msg != "" {
		l.failf(l.origins[keyPath], keyPath, "%s %s", keyFile, msg)
		return nil, nil
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		l.failf(l.origins[keyPath], keyPath, "%s is not the key of %s (%s): name the two files that belong together", keyFile, certFile, err)
		return nil, nil
	}
	c.expiries[certPath] = leaf.NotAfter
	return cert, key
}

// checkLeaf says what is wrong with the first certificate in a file, which is the one to present.
func checkLeaf(data []byte, now time.Time) (leaf *x509.Certificate, msg string) {
	if msg := checkCertificates(data); msg != "" {
		return nil, msg
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Sprintf("begins with a certificate that cannot be parsed (%s): write the file again, with the server's certificate first", err)
		case now.After(leaf.NotAfter):
			return nil, fmt.Sprintf("expired on %s: renew it", leaf.NotAfter.UTC().Format(time.DateTime))
		case now.Before(leaf.NotBefore):
			return nil, fmt.Sprintf("is not valid before %s: check the clock of this machine, or name another certificate", leaf.NotBefore.UTC().Format(time.DateTime))
		}
		if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < rsaBitsMin {
			return nil, fmt.Sprintf("has an RSA key of %d bits, which can be broken: create one of at least %d bits", key.N.BitLen(), rsaBitsMin)
		}
		return leaf, ""
	}
	return nil, "has no certificate" // cannot happen, because checkCertificates has found one
}

// rsaBitsMin is the smallest key size that public authorities accept.
const rsaBitsMin = 2048

// checkKeyFile says what is wrong with a file that has no usable key. Its messages do not quote the file.
func checkKeyFile(data []byte) string {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return "has an encrypted key, but wayside cannot ask anybody for its password: decrypt it with openssl pkey"
		}
		return ""
	}
	return "has no PEM key: it needs a block that begins with -----BEGIN PRIVATE KEY-----"
}

// readUsers reads a file of users.
func (l *loader) readUsers(path, file string, into *Secret) {
	if file == "" {
		return
	}
	data, ok := l.readKeyFile(path, file)
	if !ok {
		return
	}
	if msg := checkUsers(string(data)); msg != "" {
		l.failf(l.origins[path], path, "%s%s", file, msg)
		return
	}
	*into = Secret(data)
}

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// Limits on the cost of bcrypt hashes: the lowest cost that the algorithm allows, and the highest at which a login does not take seconds.
const (
	bcryptCostMin = 4
	bcryptCostMax = 16
)

// checkUsers accepts NAME:HASH lines with bcrypt hashes, empty lines, and comments that begin with #. Its messages do not quote the hash,
// because someone may have written a password in plain text instead.
func checkUsers(text string) string {
	const remedy = "make the line again with htpasswd -B"
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		switch {
		case !ok || user == "":
			return fmt.Sprintf(", line %d, has no NAME:HASH: %s", number, remedy)
		case checkText(user) != "":
			return fmt.Sprintf(", line %d, has a name that is not text: %s", number, remedy)
		case seen[user]:
			return fmt.Sprintf(", line %d, has user %q a second time: remove one line", number, user)
		}
		seen[user] = true
		if kind := otherHash(hash); kind != "" {
			return fmt.Sprintf(", line %d: the password of %q is %s, and only bcrypt is accepted: %s", number, user, kind, remedy)
		}
		cost, _ := strconv.Atoi(bcryptHash.FindStringSubmatch(hash)[1])
		if cost < bcryptCostMin || cost > bcryptCostMax {
			return fmt.Sprintf(", line %d: the bcrypt cost of %q is %d: it must be from %d to %d", number, user, cost, bcryptCostMin, bcryptCostMax)
		}
	}
	if len(seen) == 0 {
		return " has no user: add one with htpasswd -B"
	}
	return ""
}

// otherHash describes the form of a password that is not a bcrypt hash.
func otherHash(hash string) string {
	switch {
	case bcryptHash.MatchString(hash):
		return ""
	case strings.HasPrefix(hash, "$2"):
		return "a damaged bcrypt hash"
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		return "an MD5 hash"
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		return "a SHA-1 hash"
	case strings.HasPrefix(hash, "$"):
		return "a different kind of hash"
	}
	return "in plain text, or an old crypt hash"
}
