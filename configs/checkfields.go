package configs

import (
	"fmt"
	"slices"
	"strings"
)

// framingFields delimit or route messages. A rule that changes one of them could make two servers read different messages from the same bytes.
var framingFields = []string{
	"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// checkField accepts "Name: value" if the field may be changed and the value has no control characters.
func checkField(line string) string {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Sprintf("%q is not a field: write \"Name: value\", in quotes", line)
	}
	if msg := checkFieldName(name); msg != "" {
		return msg
	}
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Sprintf("%q has a control character in its value: leave it out", line)
		}
	}
	return ""
}

// clientName is a placeholder in a field that is set in requests. The name in the client's certificate replaces it.
const clientName = "${tls_client_name}"

// checkSetRequestField is like checkField, but also allows one clientName placeholder in any field except Host.
func checkSetRequestField(line string) string {
	name, value, _ := strings.Cut(line, ":")
	switch strings.Count(value, clientName) {
	case 0:
	case 1:
		if strings.EqualFold(name, "host") {
			return clientName + " cannot be in Host: set another field"
		}
	default:
		return clientName + " can be in a field only once"
	}
	return checkField(line)
}

// checkSetResponseField is like checkField, but rejects the clientName placeholder.
func checkSetResponseField(line string) string {
	if strings.Contains(line, clientName) {
		return clientName + " is for fields that are set in requests (request_fields.set): leave it out"
	}
	return checkField(line)
}

// checkFieldName accepts a token (RFC 9110, section 5.6.2) that does not delimit messages.
func checkFieldName(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenRune(r) }) {
		return fmt.Sprintf("%q is not a field name: use letters, digits and hyphens", name)
	}
	if slices.Contains(framingFields, strings.ToLower(name)) {
		return fmt.Sprintf("%s delimits messages and cannot be changed: leave it out", name)
	}
	return ""
}

// checkAddedField and checkRemovedField also reject Host, because a request has exactly one Host field.
func checkAddedField(line string) string {
	if name, _, _ := strings.Cut(line, ":"); strings.EqualFold(name, "host") {
		return "Host can be set, not added: a request has exactly one"
	}
	return checkSetResponseField(line)
}

func checkRemovedField(name string) string {
	if strings.EqualFold(name, "host") {
		return "Host can be set, not removed: a request has exactly one"
	}
	return checkFieldName(name)
}

// writtenFields are the forwarding fields that wayside itself writes.
var writtenFields = []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "x-request-id"}

// checkPassedField accepts the name of a field that wayside itself does not write.
func checkPassedField(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r != '-' && !isAlphanumeric(r) }) {
		return fmt.Sprintf("%q is not a field name: use letters, digits and hyphens", name)
	}
	if slices.Contains(writtenFields, strings.ToLower(name)) {
		return fmt.Sprintf("%s is written by wayside: list the peers that may set it in proxy.trusted_proxies", name)
	}
	return checkFieldName(name)
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func isTokenRune(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
