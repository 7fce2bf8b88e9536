package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// builder executes the instructions of the stages.
type builder struct {
	dir     string            // contains one folder per stage, and the context
	roots   map[string]string // stage name → its root
	env     []string
	workdir string
}

// build runs the build stage, and assembles the root of the final stage in dir/final.
func build(dir string, stages []stage) error {
	b := &builder{dir: dir, roots: map[string]string{}}
	if err := b.context(); err != nil {
		return fmt.Errorf("context: %w", err)
	}
	for i, s := range stages {
		root := filepath.Join(dir, "final")
		if i < len(stages)-1 {
			root = filepath.Join(dir, "stage-"+strconv.Itoa(i))
		}
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if err := b.base(root, s.image); err != nil {
			return fmt.Errorf("FROM %s: %w", s.image, err)
		}
		b.roots[s.name], b.workdir = root, "/"
		for _, in := range s.steps {
			if err := b.step(root, in); err != nil {
				return fmt.Errorf("line %d: %s %s: %w", in.line, in.name, in.rest, err)
			}
		}
	}
	return nil
}

// context unpacks the last commit, except for the files in .dockerignore.
func (b *builder) context() error {
	dir := filepath.Join(b.dir, "context")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", `git archive --format=tar HEAD | tar -x -C "$1"`, "sh", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	ignore, err := os.ReadFile(filepath.Join(dir, ".dockerignore"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, pattern := range strings.Split(string(ignore), "\n") {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		if strings.ContainsAny(pattern, "!/") || strings.Contains(pattern, "**") {
			return fmt.Errorf(".dockerignore: this check only supports names in the top folder, not %q", pattern)
		}
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, m := range matches {
			if err := os.RemoveAll(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// base prepares a root that replaces a base image.
func (b *builder) base(root, image string) error {
	version, isGo := strings.CutPrefix(image, "golang:")
	switch {
	case isGo:
		return b.toolchain(root, version)
	case image == "gcr.io/distroless/static-debian12:nonroot":
		return nil // the root stays empty: the image's certificates and passwd file make no difference to a program that runs without them
	}
	return errors.New("this check has no replacement for that image")
}

// toolchain makes a root that contains the machine's system and the image's version of Go, both read-only, and empty
// folders for everything else.
func (b *builder) toolchain(root, version string) error {
	for _, name := range []string{"/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/dev"} {
		if err := mirror(name, root); err != nil {
			return err
		}
	}
	for _, name := range []string{"/tmp", "/root", "/go", "/proc", "/modules", "/usr/local/go"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	cache, err := goEnv("GOMODCACHE")
	if err != nil {
		return err
	}
	download := filepath.Join(cache, "cache", "download")
	if err := os.MkdirAll(download, 0o755); err != nil {
		return err
	}
	// If the machine has another version, the go command downloads this one as a module.
	goroot, err := goEnv("GOROOT", "GOTOOLCHAIN=go"+version)
	if err != nil {
		return fmt.Errorf("fetch Go %s: %w", version, err)
	}
	for from, to := range map[string]string{download: "/modules", goroot: "/usr/local/go"} {
		if err := bind(from, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	proxy, err := goEnv("GOPROXY")
	if err != nil {
		return err
	}
	sums, err := goEnv("GONOSUMDB")
	if err != nil {
		return err
	}
	// The environment has the variables of the golang image and, from the machine, only those that say where modules
	// come from.
	b.env = []string{
		"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "GOPATH=/go", "GOTOOLCHAIN=local", "GOPROXY=file:///modules," + proxy, "GONOSUMDB=" + sums,
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"} {
		if value := os.Getenv(name); value != "" {
			b.env = append(b.env, name+"="+value)
		}
	}
	return unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, "")
}

// mirror makes a system folder visible in a root: it copies a link as a link, and mounts a folder read-only. It leaves out /usr/local.
func mirror(name, root string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	target := filepath.Join(root, name)
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(name)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	}
	if name != "/usr" {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		return bind(name, target)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "local" {
			continue
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := mirror(filepath.Join(name, e.Name()), root); err != nil {
			return err
		}
	}
	return nil
}

// bind mounts a folder read-only, except for /dev, because devices must be writable.
func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", from, err)
	}
	if from == "/dev" {
		return nil
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", from, err)
	}
	return nil
}

func (b *builder) step(root string, in instruction) error {
	switch in.name {
	case "WORKDIR":
		b.workdir = path.Join(b.workdir, in.rest)
		return os.MkdirAll(filepath.Join(root, b.workdir), 0o755)
	case "ARG":
		b.env = append(b.env, argument(in.rest))
	case "RUN":
		fmt.Println("dockercheck: RUN", in.rest)
		cmd := exec.Command("/bin/sh", "-c", in.rest)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.workdir, b.env, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		return cmd.Run()
	case "COPY":
		fmt.Println("dockercheck: COPY", in.opts["from"], in.rest)
		return b.copy(root, in)
	}
	return nil // the other instructions describe the container
}

// argument returns the value of an ARG in a build without arguments: its default, or a value that the builder provides.
func argument(text string) string {
	switch text {
	case "TARGETOS":
		return "TARGETOS=" + runtime.GOOS
	case "TARGETARCH":
		return "TARGETARCH=" + runtime.GOARCH
	}
	if !strings.Contains(text, "=") {
		text += "="
	}
	return strings.ReplaceAll(text, `"`, "")
}

func (b *builder) copy(root string, in instruction) error {
	from := filepath.Join(b.dir, "context")
	if name, ok := in.opts["from"]; ok {
		if from = b.roots[name]; from == "" {
			return fmt.Errorf("there is no stage %q", name)
		}
	}
	words := strings.Fields(in.rest)
	if len(words) < 2 || strings.ContainsAny(in.rest, "*?[") {
		return errors.New("this check copies only named files and folders")
	}
	sources, dest := words[:len(words)-1], words[len(words)-1]
	into := strings.HasSuffix(dest, "/") || dest == "."
	target := filepath.Join(root, b.workdir, dest)
	if path.IsAbs(dest) {
		target = filepath.Join(root, dest)
	}
	for _, source := range sources {
		to := target
		info, err := os.Stat(filepath.Join(from, source))
		if err != nil {
			return err
		}
		if into && !info.IsDir() {
			to = filepath.Join(target, path.Base(source))
		}
		if err := copyTree(filepath.Join(from, source), to); err != nil {
			return err
		}
		if owner := in.opts["chown"]; owner != "" {
			if err := chownTree(to, owner); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyTree copies a file or the contents of a folder. The copy belongs to root.
func copyTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		from += "/."
	}
	out, err := exec.Command("cp", "-R", "--preserve=mode,timestamps", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func chownTree(root, owner string) error {
	uid, gid, err := ids(owner)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, uid, gid)
	})
}

// ids parses UID:GID. Names would need a passwd file.
func ids(owner string) (uid, gid int, err error) {
	u, g, ok := strings.Cut(owner, ":")
	uid, errU := strconv.Atoi(u)
	gid, errG := strconv.Atoi(g)
	if !ok || errU != nil || errG != nil {
		return 0, 0, fmt.Errorf("%q: write UID:GID as numbers, which are valid whatever the image's passwd file contains", owner)
	}
	return uid, gid, nil
}

// goEnv returns a value of go env, with additional variables in its environment.
func goEnv(name string, env ...string) (string, error) {
	cmd := exec.Command("go", "env", name)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
