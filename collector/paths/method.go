package paths

// methods are the methods that get their own rows: those in IANA's registry, and QUERY.
var methods = func() map[string]string {
	names := []string{
		"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
		"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY",
		"MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND", "PROPPATCH", "REBIND",
		"REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
	}
	m := make(map[string]string, len(names))
	for _, name := range names {
		m[name] = name
	}
	return m
}()

// internMethod returns the name of a registered method, or Other.
func internMethod(method []byte) string {
	if string(method) == "GET" {
		return "GET"
	}
	if name, ok := methods[string(method)]; ok {
		return name
	}
	return Other
}
