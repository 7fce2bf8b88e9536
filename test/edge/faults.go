package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

const (
	// hungGrace is the time after the end of a hang during which a request can still fail because of that hang: twice the response
	// timeout, because the machine may be busy.
	hungGrace = 2 * time.Second
	// killGrace is the time after the death of a server during which requests can begin that are still sent to this server: on a busy
	// machine, a request may wait in wayside before the connection is chosen.
	killGrace = time.Second
)

// fault is a period in which a server did not work.
type fault struct {
	kind     string
	server   *origin
	from, to time.Time
	dead     time.Time // time at which the killed process had ended
}

// explains reports whether this fault can be the reason why a request to a server failed with an error type during the given time: either
// its connection died together with the server's process, or nothing was received on the connection for the response timeout. A server
// that was taken out by a reload explains no failure. Neither does a server that has been dead for some time, because no request can be
// sent to it.
func (f *fault) explains(server, errorType string, from, to time.Time) bool {
	if f.server.address != server || to.Before(f.from) {
		return false
	}
	switch f.kind {
	case "killed":
		return errorType == "connection_reset" && !from.After(f.dead.Add(killGrace))
	case "hung":
		return errorType == "timeout" && !from.After(f.to.Add(hungGrace))
	}
	return false
}

// disturb alternately causes a fault and ends it, at regular intervals until ctx is done. Each time, it also changes the addresses of the
// DNS name. At most one server at a time has a fault.
func (t *topologyTrial) disturb(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return t.recover(context.WithoutCancel(ctx))
		case <-ticker.C:
		}
		t.changeName()
		var err error
		if t.present != nil {
			err = t.recover(ctx)
		} else {
			kind, server := [...]string{"killed", "hung", "removed"}[t.random.IntN(3)], t.origins[t.random.IntN(len(t.origins))]
			err = t.begin(ctx, kind, server)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (t *topologyTrial) begin(ctx context.Context, kind string, o *origin) error {
	t.present = &fault{kind: kind, server: o, from: time.Now()}
	t.kinds[kind]++
	switch kind {
	case "killed":
		err := o.kill()
		t.present.dead = time.Now()
		return err
	case "hung":
		return o.signal(syscall.SIGSTOP)
	}
	return t.configure(ctx, o)
}

// recover ends the current fault.
func (t *topologyTrial) recover(ctx context.Context) (err error) {
	f := t.present
	if f == nil {
		return nil
	}
	switch f.kind {
	case "killed":
		err = f.server.start(ctx)
	case "hung":
		err = f.server.signal(syscall.SIGCONT)
	default:
		err = t.configure(ctx, nil)
	}
	f.to = time.Now()
	t.faults, t.present = append(t.faults, *f), nil
	return err
}

// configure writes the configuration without one of the servers (or with all, if without is nil), and makes wayside reload it.
func (t *topologyTrial) configure(ctx context.Context, without *origin) error {
	if err := t.writeConfig(without); err != nil {
		return err
	}
	_, err := t.w.Ask(ctx, "POST", "/-/reload")
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	t.reloads++
	return nil
}

// config returns the configuration, with or without one of the servers.
func (t *topologyTrial) config(without *origin) string {
	servers := map[string][]string{}
	for _, o := range t.origins {
		if o != without {
			scheme := map[string]string{"nginx": "https://", "node": "http://"}[o.group]
			servers[o.group] = append(servers[o.group], scheme+o.address)
		}
	}
	list := func(group string) string { return "[" + strings.Join(servers[group], ", ") + "]" }
	return strings.NewReplacer("LISTEN", t.w.Listen, "DIR", t.dir, "NGINX", list("nginx"), "NODE", list("node"), "PORT", t.namedPort).Replace(topologyConfig)
}

const topologyConfig = `listen: LISTEN
tls: {cert_file: DIR/edge.crt, key_file: DIR/edge.key, client_ca_file: DIR/ca.pem}
proxy: {response_timeout: 1s, connect_timeout: 1s, upstream_resolve: 1s}
upstreams:
  nginx:
    servers: NGINX
    balance: least
    health: {path: /ready, every: 200ms, timeout: 200ms, fails: 2, passes: 1}
    eject: {after: 3, for: 1s}
    tls: {ca_file: DIR/ca.pem, cert_file: DIR/client.crt, key_file: DIR/client.key, server_name: origin.internal}
  node:
    servers: NODE
    health: {path: /ready, every: 200ms, timeout: 200ms, fails: 2, passes: 1}
    eject: {after: 3, for: 1s}
  named: {dns: "origins.edge.test:PORT"}
routes:
  - {name: beta, path: /api/*, headers: {X-Beta: "1"}, to: named, request_fields: {set: ["X-Route: beta"]}}
  - {name: api, path: /api/*, methods: [GET, POST], to: node, request_fields: {set: ["X-Route: api"]}}
  - {name: web, host: edge.test, path: /web/*, to: nginx, request_fields: {set: ["X-Route: web"]}}
  - {name: named, path: /named/*, to: named, request_fields: {set: ["X-Route: named"]}}
  - {name: split, path: /split/*, to: {nginx: 50, node: 50}, request_fields: {set: ["X-Route: split"]}}
`

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 16)) }
