package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// release is a release in a folder.
type release struct {
	dist, scratch   string
	version, commit string // of the release; the version begins with "v"
}

func readRelease(dist, scratch string) (*release, error) {
	text, err := os.ReadFile(filepath.Join(dist, "metadata.json"))
	if err != nil {
		return nil, err
	}
	var metadata struct{ Version, Commit string }
	if err := json.Unmarshal(text, &metadata); err != nil {
		return nil, fmt.Errorf("metadata.json: %w", err)
	}
	return &release{dist: dist, scratch: scratch, version: "v" + metadata.Version, commit: metadata.Commit}, nil
}

// machines are the architectures of a release.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func checkFiles(ctx context.Context, r *release) error {
	if err := r.checksums(); err != nil {
		return err
	}
	for arch, machine := range machines {
		dir, err := r.extract(ctx, arch)
		if err != nil {
			return err
		}
		if err := checkBinary(filepath.Join(dir, "wayside"), machine); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		n, err := r.billOfMaterials(arch, filepath.Join(dir, "wayside"))
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		for _, name := range []string{
			"LICENSE", "NOTICE", "THIRD_PARTY_LICENSES", "CHANGELOG.md", "systemd/wayside.service", "systemd/wayside.socket",
			"completions/wayside.zsh", "completions/wayside.fish",
		} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("%s: %w", arch, err)
			} else if len(text) == 0 {
				return fmt.Errorf("%s: %s is empty", arch, name)
			}
		}
		say("%s: a static binary; the bill of materials lists exactly its %d modules, with their licenses", arch, n)
	}
	return r.run(ctx)
}

// checksums compares SHA256SUMS with the files. Each archive, package and bill of materials must be listed there.
func (r *release) checksums() error {
	text, err := os.ReadFile(filepath.Join(r.dist, "SHA256SUMS"))
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join(r.dist, name))
		if err != nil {
			return err
		}
		if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
			return fmt.Errorf("SHA256SUMS has a different hash for %s", name)
		}
		listed[name] = true
	}
	for arch := range machines {
		for _, ending := range []string{".tar.gz", ".tar.gz.cdx.json", ".deb", ".rpm"} {
			if name := "wayside_" + strings.TrimPrefix(r.version, "v") + "_linux_" + arch + ending; !listed[name] {
				return fmt.Errorf("SHA256SUMS does not list %s", name)
			}
		}
	}
	say("SHA256SUMS: the hashes of all %d files are right", len(listed))
	return nil
}

// extract unpacks the archive of an architecture and returns the folder.
func (r *release) extract(ctx context.Context, arch string) (string, error) {
	archive, err := one(r.dist, "*_linux_"+arch+".tar.gz")
	if err != nil {
		return "", err
	}
	if _, err := output(ctx, "tar", "-xzf", archive, "-C", r.scratch); err != nil {
		return "", err
	}
	return filepath.Join(r.scratch, strings.TrimSuffix(filepath.Base(archive), ".tar.gz")), nil
}

func checkBinary(name string, machine elf.Machine) error {
	file, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if file.Machine != machine {
		return fmt.Errorf("the binary is for %v", file.Machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return errors.New("the binary is not static")
		}
	}
	return nil
}

// billOfMaterials compares the modules in the bill of materials with those that the linker recorded in the binary.
func (r *release) billOfMaterials(arch, binary string) (int, error) {
	name, err := one(r.dist, "*_linux_"+arch+".tar.gz.cdx.json")
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var bill struct {
		Components []struct {
			Name, Version, Purl string
			Licenses            []json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		return 0, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return 0, err
	}
	want := []string{"stdlib " + info.GoVersion, info.Main.Path + " " + r.version}
	for _, m := range info.Deps {
		want = append(want, m.Path+" "+m.Version)
	}
	var got []string
	for _, c := range bill.Components {
		if !strings.HasPrefix(c.Purl, "pkg:golang/") {
			continue // the file itself
		}
		got = append(got, c.Name+" "+c.Version)
		if len(c.Licenses) == 0 && c.Name != info.Main.Path {
			return 0, fmt.Errorf("%s: %s has no license", filepath.Base(name), c.Name)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(want), func(m string) bool { return slices.Contains(got, m) })
	extra := slices.DeleteFunc(slices.Clone(got), func(m string) bool { return slices.Contains(want, m) })
	if len(missing) > 0 || len(extra) > 0 || len(got) != len(want) {
		return 0, fmt.Errorf("%s lists %d modules, the binary contains %d; missing: %q; not in the binary: %q",
			filepath.Base(name), len(got), len(want), missing, extra)
	}
	return len(want), nil
}

// run runs the programs that this machine can run: the amd64 binary, and man for the page of each command.
func (r *release) run(ctx context.Context) error {
	dir, err := one(r.scratch, "*_linux_amd64")
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "wayside")
	if err := r.checkVersion(ctx, binary); err != nil {
		return err
	}
	if _, err := output(ctx, "bash", "-n", filepath.Join(dir, "completions", "wayside.bash")); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "man", "*.1.gz"))
	if err != nil {
		return err
	}
	for _, command := range []string{"wayside", "wayside-run", "wayside-archive-ls", "wayside-config-check"} {
		if !slices.Contains(names, filepath.Join(dir, "man", command+".1.gz")) {
			return fmt.Errorf("there is no man page %s", command)
		}
	}
	for _, name := range names {
		var out, problems bytes.Buffer
		cmd := exec.CommandContext(ctx, "man", "--warnings", "-l", name)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=100", "MAN_KEEP_FORMATTING=")
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("man %s: %w: %s", name, err, &problems)
		}
		if problems.Len() > 0 || !strings.Contains(out.String(), "USAGE") {
			return fmt.Errorf("man %s: %s%s", name, &problems, &out)
		}
	}
	say("man formats the %d pages without a warning", len(names))
	return nil
}

// checkVersion runs `wayside version` and compares it with the release.
func (r *release) checkVersion(ctx context.Context, wayside ...string) error {
	out, err := output(ctx, append(wayside, "version")...)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(out, "wayside "+r.version+" (commit "+r.commit+", ") {
		return fmt.Errorf("%q; want version %s and commit %s", out, r.version, r.commit)
	}
	say("%s", out)
	return nil
}
