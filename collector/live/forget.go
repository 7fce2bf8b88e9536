package live

// Forget removes the selected rows and their routes. Later events of these rows are counted under Other until the row
// has a route again.
func (f *Feed) Forget(selected func(host, method, label string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := map[*route]bool{}
	for k, r := range f.rows {
		if !selected(k.Host, k.Method, k.Label) {
			continue
		}
		if r.route.label != Other {
			gone[r.route] = true
			delete(f.routes, r.route.label)
		}
		if r.ring != nil {
			f.rings--
		}
		delete(f.rows, k)
	}
	for _, r := range f.rows { // rows of other hosts may use a route that has been removed
		if gone[r.route] {
			r.route, r.series = f.routes[Other], nil
		}
	}
}
