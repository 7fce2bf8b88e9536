package http1

import (
	"bytes"
	"slices"
)

// NTLM, Negotiate (Kerberos) and CredSSP authenticate a connection instead of a request.

var connectionSchemes = []string{"ntlm", "negotiate", "kerberos", "credssp"}

// authenticatesConnection reports whether a list of challenges or credentials contains a scheme that authenticates the connection.
func authenticatesConnection(value []byte) bool {
	for len(value) > 0 {
		var member []byte
		member, value, _ = bytes.Cut(value, []byte{','})
		scheme := trimOWS(member)
		if i := bytes.IndexAny(scheme, " \t"); i >= 0 {
			scheme = scheme[:i]
		}
		if slices.ContainsFunc(connectionSchemes, func(s string) bool { return foldEqual(scheme, s) }) {
			return true
		}
	}
	return false
}
