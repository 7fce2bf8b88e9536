package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// emulator registers qemu as the interpreter of arm64 programs in its own user namespace, so the registration ends with the command.
// wayside starts its books process from /proc/self/exe, so it is not enough to start qemu with the name of the program.
const emulator = `#!/bin/sh
set -e
if [ "$1" != registered ]; then
	exec unshare --user --map-root-user --mount "$0" registered "$@"
fi
shift
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
cat /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register
exec %s "$@"
`

// checkARM64 runs the arm64 binary in qemu's user emulation: version, config check, the demo, and requests from a client.
func checkARM64(ctx context.Context, r *release) error {
	dir, err := r.extract(ctx, "arm64")
	if err != nil {
		return err
	}
	binary := filepath.Join(r.scratch, "wayside-arm64")
	if err := e2e.WriteExecutable(binary, fmt.Appendf(nil, emulator, filepath.Join(dir, "wayside"))); err != nil {
		return err
	}
	if err := r.checkVersion(ctx, binary); err != nil {
		return err
	}
	if _, err := output(ctx, binary, "config", "check", "configs/standalone.yaml"); err != nil {
		return err
	}
	out, err := output(ctx, binary, "demo", "--requests", "500")
	if err != nil {
		return err
	}
	agree := "The four figures agree."
	if !strings.Contains(out, agree) {
		return fmt.Errorf("demo: %s", out)
	}
	say("wayside demo --requests 500: %s", agree)
	return r.serveARM64(ctx, binary)
}

func (r *release) serveARM64(ctx context.Context, binary string) error {
	origin, stop, err := e2e.StartOrigin()
	if err != nil {
		return err
	}
	defer stop()
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(r.scratch, "arm64.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	data := filepath.Join(r.scratch, "arm64-data")
	w := &e2e.Wayside{Binary: binary, DataDir: data, Listen: listen, Args: []string{"--upstream", origin}, Log: log}
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer w.Kill()
	p := packages{listen: listen}
	if err := p.send(500); err != nil {
		return err
	}
	a, err := w.AwaitSettled(ctx)
	if err != nil {
		return err
	}
	if a.Responses != p.served || a.Aggregated != p.served {
		return fmt.Errorf("the client has received %d responses, the books have %+v", p.served, a)
	}
	if err := w.Stop(2 * time.Minute); err != nil {
		return err
	}
	say("%d requests through the arm64 binary are in its books", p.served)
	return nil
}
