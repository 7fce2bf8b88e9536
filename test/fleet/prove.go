package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// prove runs the fleet and compares the results of the engines with the figures of the instances.
func prove(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	n := flags.Int("instances", 200, "instances")
	services := flags.Int("services", 5, "services")
	requests := flags.Int("requests", 240, "requests to each instance")
	parallel := flags.Int("parallel", 4, "instances that run at the same time")
	keep := flags.String("keep", "", "keep the bucket and the databases in this folder")
	_ = flags.Parse(args)
	p, stop, err := newProof(ctx, *keep)
	if err != nil {
		return "", err
	}
	defer stop()
	instances := make([]*instance, *n)
	for i := range instances {
		instances[i] = &instance{
			number: i, service: fmt.Sprintf("svc-%d", i%*services), name: fmt.Sprintf("pod-%03d", i),
			life: life(i / *services % int(lives)), requests: *requests,
		}
	}
	if err := runFleet(ctx, p.dir, p.server, instances, *parallel); err != nil {
		return "", err
	}
	p.instances = instances
	if err := p.expect(ctx); err != nil {
		return "", err
	}
	return p.run()
}

// newProof starts an S3 server in the folder keep or, if that is empty, in a temporary folder, which stop removes.
func newProof(ctx context.Context, keep string) (p *proof, stop func(), err error) {
	dir, err := workDir(keep)
	if err != nil {
		return nil, nil, err
	}
	remove := func() {
		if keep == "" {
			_ = os.RemoveAll(dir)
		}
	}
	server, err := s3test.StartProcess(filepath.Join(dir, "s3"))
	if err != nil {
		remove()
		return nil, nil, err
	}
	stop = func() {
		server.Stop()
		remove()
	}
	keys := uploader.TargetOptions{AccessKey: server.AccessKey, SecretKey: server.SecretKey}
	target, err := uploader.OpenTarget(ctx, server.URL("books"), keys)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &proof{dir: dir, server: server, target: target}, stop, nil
}

func workDir(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "wayside-fleet-")
	}
	return filepath.Abs(keep)
}

// runFleet runs all instances, a few at a time.
func runFleet(ctx context.Context, dir string, server *s3test.Server, instances []*instance, parallel int) error {
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return err
	}
	address, stop, err := application()
	if err != nil {
		return err
	}
	defer stop()
	f := &fleetRun{dir: dir, binary: binary, upstream: address, archive: server.URL("books"), env: server.Env()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan *instance)
	go func() {
		defer close(next)
		for _, in := range instances {
			select {
			case next <- in:
			case <-ctx.Done():
				return
			}
		}
	}()
	var wg sync.WaitGroup
	failed := make([]error, parallel)
	for worker := range parallel {
		wg.Go(func() {
			for in := range next {
				if failed[worker] = f.serve(ctx, in); failed[worker] != nil {
					cancel()
					return
				}
				fmt.Fprintf(os.Stderr, "\r%s %s %-16s", in.service, in.name, lifeNames[in.life])
			}
		})
	}
	wg.Wait()
	fmt.Fprintln(os.Stderr, "\r"+strings.Repeat(" ", 60))
	return errors.Join(failed...)
}
