package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// topologyTrial is one run. It has two nginx origins that use TLS with client certificates, two node origins, a DNS name with changing
// addresses, wayside with five routes to all of these, and clients that use TLS with certificates.
type topologyTrial struct {
	dir       string
	w         *e2e.Wayside
	traffic   *traffic
	records   records
	origins   []*origin // the servers that get faults
	others    []*origin // the servers behind the DNS name
	namedPort string
	resolver  *resolver
	random    *rand.Rand
	names     []naming // all states of the DNS name

	present *fault // nil: no server has a fault
	faults  []fault
	kinds   map[string]int
	reloads int
}

func topology(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	requests := flags.Uint64("requests", 1_000_000, "requests in all")
	length := flags.Duration("for", 10*time.Minute, "time over which they are spread")
	every := flags.Duration("every", 2*time.Second, "time between two disturbances")
	workers := flags.Int("clients", 64, "clients, each with one connection")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of the random numbers")
	keep := flags.Bool("keep", false, "keep the folder of the run")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "wayside-edge-")
	if err != nil {
		return "", err
	}
	if *keep {
		fmt.Println("folder:", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	t := &topologyTrial{dir: dir, random: newRandom(*seed), kinds: map[string]int{}}
	stop, err := t.start(ctx)
	defer stop()
	if err != nil {
		return "", err
	}
	fmt.Printf("seed %d: %d requests in %v, a disturbance every %v\n", *seed, *requests, *length, *every)
	t.traffic.requests, t.traffic.interval, t.traffic.workers = *requests, *length/time.Duration(*requests), *workers
	found, err := t.run(ctx, *every)
	return fmt.Sprintf("seed %d, %s", *seed, found), err
}

// start starts everything. stop ends everything, and must be called even after an error.
func (t *topologyTrial) start(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	if err := t.certificates(); err != nil {
		return stop, err
	}
	if t.resolver, err = startResolver(); err != nil {
		return stop, fmt.Errorf("the resolver needs port 53 of %s, as root: %w", resolverAddress, err)
	}
	stops = append(stops, t.resolver.close)
	origins, stopApp, err := newOrigins(t.dir, &t.records)
	if err != nil {
		return stop, err
	}
	t.origins = origins
	stops = append(stops, stopApp)
	for _, o := range t.origins {
		stops = append(stops, func() { _ = o.kill() })
		if err := o.start(ctx); err != nil {
			return stop, err
		}
	}
	var stopNamed func()
	t.others, t.namedPort, stopNamed, err = startNamed(&t.records)
	stops = append(stops, stopNamed)
	if err != nil {
		return stop, err
	}
	t.setName([]netip.Addr{netip.MustParseAddr(namedAddresses[0])})
	stops = append(stops, func() {
		if t.w != nil && t.w.Running() {
			t.w.Kill()
		}
	})
	return stop, t.startWayside(ctx)
}

// certificates creates an authority, and certificates for wayside, its clients and the origins.
func (t *topologyTrial) certificates() error {
	ca, err := certtest.Authority("edge")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.dir, "ca.pem"), ca.PEM(), 0o600); err != nil {
		return err
	}
	for name, leaf := range map[string]certtest.Leaf{
		"edge": {Names: []string{"edge.test"}}, "origin": {Names: []string{"origin.internal"}}, "client": {Common: "client", Client: true},
	} {
		made, err := ca.Make(leaf)
		if err == nil {
			_, _, err = made.Save(t.dir, name)
		}
		if err != nil {
			return err
		}
		if name == "client" {
			t.traffic = &traffic{tls: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{made.TLS}, ServerName: "edge.test"}}
		}
	}
	return nil
}

// startWayside starts the binary in a mount namespace in which /etc/resolv.conf names the resolver of this command.
func (t *topologyTrial) startWayside(ctx context.Context) error {
	binary, err := e2e.Build(ctx, t.dir)
	if err != nil {
		return err
	}
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(t.dir, "log"))
	if err != nil {
		return err
	}
	names, wrapper := filepath.Join(t.dir, "resolv.conf"), filepath.Join(t.dir, "wrapper")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -c 'mount --bind %s /etc/resolv.conf && exec %s \"$@\"' wayside \"$@\"\n", names, binary)
	err = errors.Join(os.WriteFile(names, []byte("nameserver "+resolverAddress+"\n"), 0o644), e2e.WriteExecutable(wrapper, []byte(script)))
	if err != nil {
		return err
	}
	t.traffic.address = listen
	t.w = &e2e.Wayside{
		Binary: wrapper, DataDir: filepath.Join(t.dir, "data"), Listen: listen, Log: log,
		Args: []string{"--config", filepath.Join(t.dir, "edge.yaml"), "--archive", "file://" + filepath.Join(t.dir, "archive")},
	}
	if err := t.writeConfig(nil); err != nil {
		return err
	}
	return t.w.Start(ctx)
}

func (t *topologyTrial) writeConfig(without *origin) error {
	return os.WriteFile(filepath.Join(t.dir, "edge.yaml"), []byte(t.config(without)), 0o600)
}

// run sends the traffic while faults are caused, and then compares all records.
func (t *topologyTrial) run(ctx context.Context, every time.Duration) (string, error) {
	disturbing, endDisturbing := context.WithCancel(ctx)
	disturbed := make(chan error, 1)
	go func() { disturbed <- t.disturb(disturbing, every) }()
	progress := time.NewTicker(10 * time.Second)
	defer progress.Stop()
	sent := make(chan struct{})
	go func() {
		t.traffic.run(ctx)
		close(sent)
	}()
	for waiting := true; waiting; {
		select {
		case err := <-disturbed:
			endDisturbing()
			return "", errors.Join(err, ctx.Err())
		case <-progress.C:
			fmt.Printf("%d requests\n", t.traffic.done.Load())
		case <-sent:
			waiting = false
		}
	}
	endDisturbing()
	if err := errors.Join(<-disturbed, ctx.Err()); err != nil {
		return "", err
	}
	return t.judge(ctx)
}
