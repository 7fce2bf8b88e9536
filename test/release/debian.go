package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

const (
	configFile = "/etc/wayside/wayside.yaml"
	dataDir    = "/var/lib/wayside"
)

// packages is the proof on one Debian system.
type packages struct {
	*container
	release    *release
	older, new string // packages inside the system
	listen     string
	config     string // text of the configuration file
	served     uint64 // responses that clients have received
}

// checkDebian installs, upgrades, removes, installs again and purges the package. Each response that a client has received must be in the
// books exactly once until the purge.
func checkDebian(ctx context.Context, r *release) error {
	root, err := r.debootstrap(ctx)
	if err != nil {
		return err
	}
	c, err := boot(ctx, root)
	if err != nil {
		return err
	}
	defer c.shutdown()
	p := &packages{container: c, release: r}
	for _, pkg := range []struct {
		to   *string
		path string
	}{{&p.older, filepath.Join(r.dist, "older")}, {&p.new, r.dist}} {
		name, err := one(pkg.path, "*_linux_amd64.deb")
		if err != nil {
			return err
		}
		if *pkg.to, err = c.add(name); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{p.installOlder, p.start, p.upgrade, p.sandbox, p.remove, p.reinstall, p.purge} {
		if err := step(ctx); err != nil {
			log, _ := c.run(ctx, "journalctl", "--unit=wayside", "--no-pager", "--lines=30")
			return fmt.Errorf("%w\n%s", err, log)
		}
	}
	return nil
}

func (p *packages) installOlder(ctx context.Context) error {
	if err := p.all(ctx, "apt-get install -y --no-install-recommends "+p.older); err != nil {
		return err
	}
	for want, command := range map[string]string{
		"disabled":            "systemctl is-enabled wayside",
		"inactive":            "systemctl is-active wayside",
		"wayside:wayside:750": "stat --format=%U:%G:%a " + dataDir,
		"root:root:755":       "stat --format=%U:%G:%a /usr/bin/wayside",
		"root:root:644":       "stat --format=%U:%G:%a " + configFile,
	} {
		if err := p.expect(ctx, want, strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// start configures the service with a socket unit, as an operator would, and sends the first requests.
func (p *packages) start(ctx context.Context) error {
	origin, _, err := e2e.StartOrigin() // it ends with this program
	if err != nil {
		return err
	}
	if p.listen, err = loopback.FreeAddress(); err != nil {
		return err
	}
	p.config = fmt.Sprintf("# changed by the operator\nlisten: %s\nadmin: 127.0.0.1:0\nupstream: %s\nservice: shop\ndata: {dir: %s}\n",
		p.listen, origin, dataDir)
	socket := "[Socket]\nListenStream=\nListenStream=" + p.listen + "\n"
	dropIn := filepath.Join(p.root, "etc/systemd/system/wayside.socket.d")
	if err := os.MkdirAll(dropIn, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{filepath.Join(p.root, configFile): p.config, filepath.Join(dropIn, "addresses.conf"): socket} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := p.all(ctx, "wayside config check "+configFile, "systemctl daemon-reload",
		"systemctl enable --now wayside.socket", "systemctl enable --now wayside.service"); err != nil {
		return err
	}
	if err := p.send(1000); err != nil {
		return err
	}
	older, err := p.books(ctx)
	if err == nil {
		say("installed %s; systemd runs it; %d requests are in its books", older, p.served)
	}
	return err
}

// upgrade installs the new package while a client sends requests. The socket unit keeps the port open, so no request may fail.
func (p *packages) upgrade(ctx context.Context) error {
	before, err := e2e.Attach(filepath.Join(p.root, dataDir))
	if err != nil {
		return err
	}
	client := p.keepSending()
	err = p.all(ctx, "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "+p.new)
	during, clientErr := client.stop()
	p.served += during
	if err != nil {
		return err
	}
	if clientErr != nil {
		return fmt.Errorf("a request failed during the upgrade, after %d others: %w", during, clientErr)
	}
	if err := p.send(1000); err != nil {
		return err
	}
	version, err := p.books(ctx)
	if err != nil {
		return err
	}
	after, err := e2e.Attach(filepath.Join(p.root, dataDir))
	if err != nil {
		return err
	}
	if version != p.release.version || version == before.Info().Version || after.Info().Started.Equal(before.Info().Started) {
		return fmt.Errorf("after the upgrade from %s, version %s is running, want %s", before.Info().Version, version, p.release.version)
	}
	if err := expectFile(filepath.Join(p.root, configFile), p.config); err != nil {
		return err
	}
	say("upgraded to %s: systemd restarted it; none of %d requests failed meanwhile; all %d are in the books; the configuration is unchanged",
		version, during, p.served)
	return nil
}

// sandbox lets systemd check the installed units, and wayside its books as its own user.
func (p *packages) sandbox(ctx context.Context) error {
	if err := p.all(ctx, "systemd-analyze verify --man=no /usr/lib/systemd/system/wayside.service /usr/lib/systemd/system/wayside.socket",
		"systemctl reload wayside", "runuser -u wayside -- wayside verify --data "+dataDir); err != nil {
		return err
	}
	if err := p.expect(ctx, "??5?????? c "+configFile, "dpkg", "--verify", "wayside"); err != nil { // no other file has been changed
		return err
	}
	out, err := p.run(ctx, "systemd-analyze", "security", "--threshold=20", "--no-pager", "wayside.service")
	if err != nil {
		return err
	}
	lines := strings.Split(out, "\n")
	say("systemd-analyze verify: no problem; %s; systemctl reload and wayside verify succeed", strings.TrimPrefix(lines[len(lines)-1], "→ "))
	return nil
}

// remove removes the package. The program and the units must be gone; the configuration and the data must remain.
func (p *packages) remove(ctx context.Context) error {
	if err := p.all(ctx, "apt-get remove -y wayside"); err != nil {
		return err
	}
	for _, name := range []string{"/usr/bin/wayside", "/usr/lib/systemd/system/wayside.service", "/usr/share/man/man1/wayside.1.gz"} {
		if _, err := os.Lstat(filepath.Join(p.root, name)); !os.IsNotExist(err) {
			return fmt.Errorf("%s remains after the removal: %v", name, err)
		}
	}
	if err := p.expect(ctx, "deinstall ok config-files", "dpkg-query", "--show", "--showformat=${Status}", "wayside"); err != nil {
		return err
	}
	if _, err := e2e.Attach(filepath.Join(p.root, dataDir)); !errors.Is(err, datadir.ErrNotRunning) {
		return fmt.Errorf("wayside is still running after the removal: %v", err)
	}
	return expectFile(filepath.Join(p.root, configFile), p.config)
}

// reinstall checks that the removal has kept the books: the new wayside must continue them.
func (p *packages) reinstall(ctx context.Context) error {
	if err := p.all(ctx, "apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "+p.new,
		"systemctl enable --now wayside.socket", "systemctl enable --now wayside.service"); err != nil {
		return err
	}
	if err := p.send(500); err != nil {
		return err
	}
	if _, err := p.books(ctx); err != nil {
		return err
	}
	say("removed and installed again: the configuration and the books are still there, now with %d requests", p.served)
	return nil
}

// purge must leave nothing behind except the operator's additions and the user.
func (p *packages) purge(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(p.root, "etc/wayside/environment"), []byte("AWS_SECRET_ACCESS_KEY=x\n"), 0o600); err != nil {
		return err
	}
	if err := p.all(ctx, "apt-get purge -y wayside"); err != nil {
		return err
	}
	if out, err := p.run(ctx, "dpkg-query", "--show", "wayside"); err == nil {
		return fmt.Errorf("dpkg still knows the package: %s", out)
	}
	out, err := p.run(ctx, "find", "/", "-xdev", "-iname", "*wayside*", "-not", "-path", "/root/*")
	if err != nil {
		return err
	}
	if out != "/etc/systemd/system/wayside.socket.d" { // created by the operator; see start
		return fmt.Errorf("the purge left behind: %s", out)
	}
	say("purged: no file of the package, its configuration or its data is left")
	return nil
}
