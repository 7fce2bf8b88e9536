package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/uploader"
)

// verdict collects the problems: the first few of each kind.
type verdict struct {
	counts map[string]int
	errs   []error
}

func (v *verdict) wrong(kind, format string, args ...any) {
	if v.counts[kind]++; v.counts[kind] <= 3 {
		v.errs = append(v.errs, fmt.Errorf(kind+": "+format, args...))
	}
}

func (v *verdict) err() error {
	for kind, n := range v.counts {
		if n > 3 {
			v.errs = append(v.errs, fmt.Errorf("%s: %d in all", kind, n))
		}
	}
	return errors.Join(v.errs...)
}

// judge compares the records of the clients, of the origins and of the books.
func (t *topologyTrial) judge(ctx context.Context) (string, error) {
	v := &verdict{counts: map[string]int{}}
	for _, text := range t.traffic.wrong {
		v.wrong("clients", "%s", text)
	}
	t.compareRoutes(ctx, v)
	if err := t.w.Stop(2 * time.Minute); err != nil {
		return "", err
	}
	events, err := t.events(ctx, v)
	if err != nil {
		return "", err
	}
	failed := t.compareEvents(events, v)
	used := t.compareNames(v)
	unanswered, err := t.compareArrivals(events, v)
	if err != nil {
		return "", err
	}
	retried := 0
	for i := range events {
		if events[i].Tries > 1 {
			retried++
		}
	}
	return fmt.Sprintf("%d requests, %d killed, %d hung, %d removed by %d reloads; %d failed, each a POST at a server that had died (%d) or "+
		"hung (%d); %d requests tried again; %d arrivals without a response; the name changed %d times, and an address that it had for %v or longer "+
		"was used %d of %d times",
		t.traffic.requests, t.kinds["killed"], t.kinds["hung"], t.kinds["removed"], t.reloads, failed["connection_reset"]+failed["timeout"],
		failed["connection_reset"], failed["timeout"], retried, unanswered, len(t.names)-1, followGrace, used.used, used.added), v.err()
}

// compareRoutes compares the statistics of each route with the results of the clients.
func (t *topologyTrial) compareRoutes(ctx context.Context, v *verdict) {
	if _, err := t.w.AwaitSettled(ctx); err != nil {
		v.wrong("books", "%v", err)
		return
	}
	count, errs := map[string]int{}, map[string]int{}
	for nonce := range t.traffic.results {
		p, _ := pathOf(uint64(nonce))
		count[p.route]++
		if t.traffic.results[nonce].status >= 500 {
			errs[p.route]++
		}
	}
	for route, n := range count {
		body, err := t.w.Ask(ctx, http.MethodGet, "/api/v1/paths?route="+route)
		var page struct {
			Totals struct{ Count, Errors int }
		}
		if err = errors.Join(err, json.Unmarshal(body, &page)); err != nil {
			v.wrong("statistics", "%v", err)
		}
		if page.Totals.Count != n || page.Totals.Errors != errs[route] {
			v.wrong("statistics", "route %s: the clients have %d responses and %d errors, the books %d and %d", route, n, errs[route], page.Totals.Count, page.Totals.Errors)
		}
	}
}

// events reads the archive and returns one event for each request, indexed by the number of the request.
func (t *topologyTrial) events(ctx context.Context, v *verdict) ([]e2e.Line, error) {
	target, err := uploader.OpenTarget(ctx, "file://"+filepath.Join(t.dir, "archive"), uploader.TargetOptions{})
	if err != nil {
		return nil, err
	}
	events := make([]e2e.Line, t.traffic.requests)
	_, err = e2e.ReadBooksEach(ctx, target, func(l e2e.Line) {
		nonce, ok := nonceOf(l.Path)
		switch {
		case l.Kind == "drop" || !ok || nonce >= uint64(len(events)):
			v.wrong("books", "an unexpected event %+v", l)
		case events[nonce].EventID != "":
			v.wrong("books", "request %d has two events", nonce)
		default:
			events[nonce] = l
		}
	})
	return events, err
}

// compareEvents compares the event of each request with the response that the client received. It returns the number of failed requests by
// error type; each of these must be a POST that was sent to a server with a fault.
func (t *topologyTrial) compareEvents(events []e2e.Line, v *verdict) (failed map[string]int) {
	failed = map[string]int{}
	address := map[string]string{}
	for _, o := range append(t.others, t.origins...) {
		address[o.name] = o.address
	}
	for nonce := range events {
		r, e := &t.traffic.results[nonce], &events[nonce]
		p, post := pathOf(uint64(nonce))
		if e.EventID == "" || e.Route != p.route || e.Status != r.status || r.origin != "" && e.Server != address[r.origin] {
			v.wrong("books", "request %d: the client has %d from %q by route %s, the books %+v", nonce, r.status, r.origin, p.route, *e)
		}
		if r.status == http.StatusOK {
			continue
		}
		failed[e.Error]++
		if !post || !t.explained(e, t.traffic.begin.Add(r.begin), t.traffic.begin.Add(r.end)) {
			v.wrong("failed", "request %d, %v after the beginning: %+v", nonce, r.end, *e)
		}
	}
	return failed
}

// explained reports whether a request failed after it had been sent to a server with a fault.
func (t *topologyTrial) explained(e *e2e.Line, from, to time.Time) bool {
	return slices.ContainsFunc(t.faults, func(f fault) bool { return f.explains(e.Server, e.Error, from, to) })
}

// compareArrivals compares the requests that arrived at the origins with the events: each POST must have arrived at most once, and each
// response must come from an origin at which the request arrived. It returns the number of requests that arrived at an origin but whose
// response did not reach the client.
func (t *topologyTrial) compareArrivals(events []e2e.Line, v *verdict) (unanswered int, err error) {
	list := t.records.list
	name := map[string]string{}
	for _, o := range append(t.others, t.origins...) {
		name[o.address] = o.name
		if o.file != "" {
			more, err := o.written()
			if err != nil {
				return 0, err
			}
			list = append(list, more...)
		}
	}
	answered := make([]bool, len(events))
	arrived := make([]bool, len(events))
	counts, want := map[string]int{}, map[string]int{}
	for _, a := range list {
		p, post := pathOf(a.nonce)
		e := &events[a.nonce]
		if a.route != p.route || a.post != post {
			v.wrong("origins", "%+v, the client's route is %s", a, p.route)
		}
		if post && arrived[a.nonce] {
			v.wrong("posts", "%d arrived twice, the second time at %s", a.nonce, a.origin)
		}
		arrived[a.nonce] = true
		switch {
		case e.Status == http.StatusOK && name[e.Server] == a.origin && !answered[a.nonce]:
			answered[a.nonce] = true
			counts[a.origin]++
		case e.Status != http.StatusOK || e.Tries > 1:
			unanswered++
		default:
			v.wrong("origins", "%+v, but the books have %+v", a, *e)
		}
	}
	for nonce := range events {
		if events[nonce].Status == http.StatusOK {
			want[name[events[nonce].Server]]++
			if !answered[nonce] {
				v.wrong("origins", "request %d did not arrive at %s, from which its response came", nonce, name[events[nonce].Server])
			}
		}
	}
	for server, n := range want {
		if counts[server] != n {
			v.wrong("servers", "%s has answered %d requests, and the books have %d", server, counts[server], n)
		}
	}
	return unanswered, nil
}
