package paths

// insert and remove update the table and its counters together.
func (l *Labeler) insert(key string, r *row) {
	l.rows[key] = r
	if r.label == Other {
		l.overflow++
		return
	}
	l.ordinary++
	l.shown[r.shownKey()]++
	l.merged[mergedKey(r.host, r.shown)]++
	if r.grpc {
		l.exact.add(r, 1)
	}
}

func (l *Labeler) remove(r *row) {
	l.key = appendRowKey(l.key[:0], &r.name)
	delete(l.rows, string(l.key))
	if r.label == Other {
		l.overflow--
		return
	}
	l.ordinary--
	decrement(l.shown, r.shownKey())
	decrement(l.merged, mergedKey(r.host, r.shown))
	if r.grpc {
		l.exact.add(r, -1)
	}
}

func decrement(m map[string]int, key string) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

// shownKey returns the key that the row would have if its template were its label.
func (r *row) shownKey() string {
	return string(appendRowKey(nil, &name{host: r.host, method: r.method, route: r.route, label: r.shown}))
}

func mergedKey(host, label string) string { return host + "\x00" + label }

func appendRowKey(dst []byte, n *name) []byte {
	dst = append(dst, n.host...)
	dst = append(dst, 0) // cleaned names contain no zero bytes
	dst = append(dst, n.method...)
	dst = append(dst, 0)
	dst = append(dst, n.route...)
	dst = append(dst, 0)
	return append(dst, n.label...)
}
