package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// checkRPM installs, upgrades and removes the RPM packages in a root without a running systemd, with rpm itself. The root is a Debian
// system, because the registries of RPM distributions may not be reachable. Therefore, the dependencies cannot be checked.
func checkRPM(ctx context.Context, r *release) error {
	older, err := one(r.dist, "older", "*_linux_amd64.rpm")
	if err != nil {
		return err
	}
	newer, err := one(r.dist, "*_linux_amd64.rpm")
	if err != nil {
		return err
	}
	system, err := r.debootstrap(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(r.scratch, "rpm")
	if _, err := output(ctx, "cp", "-a", system, root); err != nil {
		return err
	}
	rpm := func(words ...string) error {
		_, err := output(ctx, append([]string{"rpm", "--root=" + root, "--dbpath=/var/lib/rpm"}, words...)...)
		return err
	}
	if err := rpm("--install", "--nodeps", older); err != nil {
		return err
	}
	books, edited := filepath.Join(root, dataDir, "books"), "upstream: http://127.0.0.1:3000\n"
	err = errors.Join(os.WriteFile(books, []byte("books"), 0o600), os.WriteFile(filepath.Join(root, configFile), []byte(edited), 0o644))
	if err != nil {
		return err
	}
	if err := rpm("--upgrade", "--nodeps", newer); err != nil {
		return err
	}
	if err := r.checkVersion(ctx, "chroot", root, "/usr/bin/wayside"); err != nil {
		return err
	}
	if err := expectFile(filepath.Join(root, configFile), edited); err != nil {
		return err
	}
	if err := rpm("--erase", "wayside"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/wayside")); !os.IsNotExist(err) {
		return fmt.Errorf("the program remains after the removal: %v", err)
	}
	if err := errors.Join(expectFile(books, "books"), expectFile(filepath.Join(root, configFile)+".rpmsave", edited)); err != nil {
		return err
	}
	requires, err := output(ctx, "rpm", "--query", "--package", "--requires", newer)
	if err != nil {
		return err
	}
	say("installed, upgraded and removed with rpm: an edited configuration and the data remain; its dependencies (not checked): %s",
		strings.Join(strings.Fields(requires), " "))
	return nil
}
