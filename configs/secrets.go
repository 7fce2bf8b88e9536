package configs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// keyFileBytesMax limits the size of a file with a secret or with certificates.
const keyFileBytesMax = 1 << 20

// readSecrets reads the files that the *_file keys name. It is an error if the same source sets both a token and a token file. If
// different sources set them, the value from the source with higher precedence is used.
func (l *loader) readSecrets(c *Config) {
	token, file := l.origins["admin.token"], l.origins["admin.token_file"]
	switch {
	case c.Admin.TokenFile == "":
	case c.Admin.Token != "" && token.source == file.source:
		l.failf(file, "admin.token_file", "admin.token is set too: keep one of the two")
	case c.Admin.Token == "" || file.source.rank() > token.source.rank():
		l.readSecret("admin.token_file", c.Admin.TokenFile, &c.Admin.Token, checkSecret)
	}
	l.readSecret("archive.access_key_file", c.Archive.AccessKeyFile, &c.Archive.AccessKey, checkAccessKey)
	l.readSecret("archive.secret_key_file", c.Archive.SecretKeyFile, &c.Archive.SecretKey, checkAccessKey)
	l.readCAs("archive.ca_file", c.Archive.CAFile, &c.Archive.CA)
	l.readCAs("otlp.ca_file", c.OTLP.CAFile, &c.OTLP.CA)
	l.readOTLPHeaders(c)
}

// readSecret reads a secret from a file. check returns what is wrong with the secret, or "".
func (l *loader) readSecret(path, file string, into *Secret, check func(string) string) {
	if file == "" {
		return
	}
	data, ok := l.readKeyFile(path, file)
	if !ok {
		return
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" {
		l.failf(l.origins[path], path, "%s is empty: write the secret into it", file)
		return
	}
	if msg := check(secret); msg != "" {
		l.failf(l.origins[path], path, "the content of %s %s", file, msg)
		return
	}
	*into = Secret(secret)
}

// checkAccessKey rejects keys that cannot be sent in a header field, for example because the file has a second line.
func checkAccessKey(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "has a space, a line break or a character outside ASCII: write only the key into it"
	}
	return ""
}

// checkCertificates says what is wrong with a file that has no usable certificate. If at least one certificate can be parsed, it ignores
// those that cannot: bundles of many authorities can contain certificates that Go rejects, such as those with a negative serial number.
func checkCertificates(data []byte) string {
	good, bad := 0, ""
	for n := 1; ; {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			continue // for example a private key
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			good++
		} else if bad == "" {
			bad = fmt.Sprintf("has no certificate that can be parsed; the first that cannot is number %d (%s): write the file again", n, err)
		}
		n++
	}
	if good == 0 && bad == "" {
		return "has no PEM certificate: it needs at least one block that begins with -----BEGIN CERTIFICATE-----"
	}
	if good == 0 {
		return bad
	}
	return ""
}

// readKeyFile reads a small file. It reads only regular files, because reading other kinds of files could block or never end. Errors show
// the absolute name, because a relative name is resolved in the working directory, which is often not the folder of the configuration file.
func (l *loader) readKeyFile(path, name string) (data []byte, ok bool) {
	at := l.origins[path]
	if absolute, err := filepath.Abs(name); err == nil { // an error means that the working directory is gone
		name = absolute
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a directory", name)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", name)
	default:
		data, err = readAtMost(name, keyFileBytesMax)
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		l.failf(at, path, "cannot read the file: %s: let uid %d read it, or name another file", err, os.Getuid())
	case err != nil:
		l.failf(at, path, "cannot read the file: %s: name a file that exists", err)
	}
	return data, err == nil
}

func readAtMost(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return data, err
}
