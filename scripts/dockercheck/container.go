package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	originAddress = "127.0.0.1:3000"
	requests      = 200
	stops         = 5 // number of stops under load; if the listener were closed immediately, two of three would break requests
	startLimit    = 30 * time.Second
	checkLimit    = 3 * time.Second
	stopLimit     = 30 * time.Second // the default in Kubernetes
)

// container runs the final root as a container runtime would, in namespaces that the caller has created.
func container(dir string, img image) error {
	root := filepath.Join(dir, "final")
	uid, gid, err := ids(img.user)
	if err != nil {
		return fmt.Errorf("USER: %w", err)
	}
	if uid == 0 {
		return errors.New("USER is root")
	}
	if err := list(root); err != nil {
		return err
	}
	if err := furnish(dir, root, img.volumes[0]); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := readOnly(root); err != nil {
		return err
	}
	origin, err := net.Listen("tcp", originAddress)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(origin) }()
	defer server.Close()

	start := func(words []string) *exec.Cmd {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Path, cmd.Err = words[0], nil // a path inside the root
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/", os.Stdout, os.Stderr
		cmd.Env = append([]string{"WAYSIDE_UPSTREAM=http://" + originAddress, "WAYSIDE_LOG_FORMAT=text"}, img.env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Chroot: root, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGKILL,
		}
		return cmd
	}
	var paths []string
	for i := range stops {
		more, err := startAndStop(start, img, i)
		if err != nil {
			return err
		}
		paths = append(paths, more...)
	}
	return archived(filepath.Join(root, img.volumes[0], "archive"), paths)
}

// startAndStop runs the container once and stops it under load. It returns the paths of the requests that were
// answered.
func startAndStop(start func([]string) *exec.Cmd, img image, round int) ([]string, error) {
	words := append(append([]string{}, img.entrypoint...), img.cmd...)
	fmt.Println("dockercheck: running", strings.Join(words, " "), "as", img.user)
	wayside := start(words)
	if err := wayside.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- wayside.Wait() }()
	if err := healthy(start, img.health, ended); err != nil {
		return nil, err
	}
	paths, err := traffic(round)
	if err != nil {
		return nil, err
	}
	if err := runCheck(start(img.health)); err != nil {
		return nil, fmt.Errorf("HEALTHCHECK under traffic: %w", err)
	}
	last := startLoad("127.0.0.1:8090", fmt.Sprintf("/last/%d/", round))
	if err := last.wait(); err != nil {
		return nil, err
	}
	last.stopping.Store(true)
	if err := stop(wayside, ended); err != nil {
		return nil, err
	}
	more, err := last.end()
	return append(paths, more...), err
}

// list prints the files of the image.
func list(root string) error {
	fmt.Println("dockercheck: the image contains")
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Printf("  %s %10d %s\n", info.Mode(), info.Size(), strings.TrimPrefix(name, root))
		return nil
	})
}

// furnish adds the files that every container runtime adds, and makes everything else read-only.
func furnish(dir, root, volume string) error {
	for _, name := range []string{"proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	owner, err := os.Stat(filepath.Join(root, volume))
	if err != nil {
		return fmt.Errorf("VOLUME %s is not in the image, so a new volume would belong to root: %w", volume, err)
	}
	data := filepath.Join(dir, "volume")
	if err := os.Mkdir(data, owner.Mode().Perm()); err != nil {
		return err
	}
	st, ok := owner.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("no owner of the volume")
	}
	if err := os.Chown(data, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	mounts := []struct {
		from, to, kind string
		flags          uintptr
	}{
		{root, root, "", unix.MS_BIND},
		{"proc", root + "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", root + "/dev", "tmpfs", unix.MS_NOSUID},
		{data, filepath.Join(root, volume), "", unix.MS_BIND},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.from, m.to, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		device := filepath.Join(root, "dev", name)
		if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("make %s: %w", device, err)
		}
		if err := os.Chmod(device, 0o666); err != nil {
			return err
		}
	}
	return unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// readOnly checks that nothing can be written to the root, even by this process, which runs as root.
func readOnly(root string) error {
	err := os.WriteFile(filepath.Join(root, "written"), nil, 0o600)
	if !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("the root should be read-only, but writing to it returns: %v", err)
	}
	return nil
}

// loopbackUp enables the only interface of the new network namespace.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}

func answer(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "origin saw %s\n", r.URL.Path) }

// healthy runs the image's health check until it passes.
func healthy(start func([]string) *exec.Cmd, words []string, ended <-chan error) error {
	limit := time.After(startLimit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if runCheck(start(words)) == nil {
			fmt.Println("dockercheck: healthy:", strings.Join(words, " "))
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("wayside ended by itself: %v", err)
		case <-limit:
			return fmt.Errorf("%s did not pass within %s", strings.Join(words, " "), startLimit)
		case <-tick.C:
		}
	}
}

// runCheck runs the health check without output, with the same timeout as in a container engine.
func runCheck(check *exec.Cmd) error {
	check.Stdout, check.Stderr = nil, nil
	if err := check.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(checkLimit, func() { _ = check.Process.Kill() })
	defer timer.Stop()
	return check.Wait()
}

// traffic sends requests through wayside and checks the probes. It returns the paths of the requests.
func traffic(round int) (paths []string, err error) {
	for i := range requests {
		path := fmt.Sprintf("/items/%d/%d", round, i)
		body, err := get("http://127.0.0.1:8090" + path)
		if err != nil {
			return nil, err
		}
		if want := "origin saw " + path + "\n"; body != want {
			return nil, fmt.Errorf("GET %s returned %q, want %q", path, body, want)
		}
		paths = append(paths, path)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if _, err := get("http://127.0.0.1:8092" + path); err != nil {
			return nil, err
		}
	}
	fmt.Println("dockercheck:", requests, "requests answered by the origin; probes answer")
	return paths, nil
}

func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}

// stop sends SIGTERM, as kubelet does, and waits for the end.
func stop(cmd *exec.Cmd, ended <-chan error) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("after SIGTERM: %w", err)
		}
		fmt.Println("dockercheck: SIGTERM, exit 0")
		return nil
	case <-time.After(stopLimit):
		_ = cmd.Process.Kill()
		return fmt.Errorf("still running %s after SIGTERM", stopLimit)
	}
}

// archived counts the requests in the archive after the shutdown.
func archived(dir string, paths []string) error {
	found := map[string]int{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".ndjson.gz") || strings.Contains(name, "/stats/") {
			return err
		}
		return countLines(name, found)
	})
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	for _, path := range paths {
		if found[path] != 1 {
			return fmt.Errorf("the archive has %s %d times, want once", path, found[path])
		}
	}
	fmt.Println("dockercheck: the archive contains every request once")
	return nil
}

func countLines(name string, found map[string]int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(unpacked)
	for lines.Scan() {
		var line struct {
			Path string `json:"url_path"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		found[line.Path]++
	}
	return lines.Err()
}
