package live

// Forget drops the rows and routes that are selected, with all that is kept of them; their histograms begin anew as part of
// those of the others. A route is selected if it is for one of its rows.
func (f *Feed) Forget(selected func(host, method, label string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := map[*route]bool{}
	for k, r := range f.rows {
		if !selected(k.host, k.method, k.label) {
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
	for _, r := range f.rows { // the same label of other hosts
		if gone[r.route] {
			r.route, r.series = f.routes[Other], nil
		}
	}
}
