// Command dockercheck builds and runs the Dockerfile's image without a container engine. It reads the commands from the
// Dockerfile itself and refuses to go on at an instruction it does not know.
//
// What it does, as root on Linux, everything in a mount namespace and a temporary directory of its own:
//
//  1. The build stage: a root with the machine's /usr, /etc and Go toolchain read-only, nothing in /root, /go and /tmp, and
//     the sources of the last commit (git archive) cut down by .dockerignore. RUN goes through chroot and /bin/sh. The
//     module cache of the machine serves as the first module proxy, so nothing is downloaded twice.
//  2. The final stage: an empty root plus what COPY puts there.
//  3. The container: the final root mounted read-only, with what every container runtime adds (/proc, a small /dev, the
//     volume), in new mount, process and network namespaces, as USER, with ENV and nothing else in the environment.
//     Requests go through wayside to a small origin; the health check runs as written; SIGTERM must end it with 0, and
//     the archive must then hold one line for each request.
//
// What it cannot show: that the base images exist and hold what this program assumes of them (Go of the named version;
// nothing at all).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func main() {
	// Children are to die with this process. The kernel ties that to the thread that started them: keep to the one that lives
	// as long as the process.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dockercheck: FAILED:", err)
		os.Exit(1)
	}
}

// phase names the steps that run in namespaces of their own: the program starts itself again for each.
const phaseVariable = "DOCKERCHECK_PHASE"

func run() error {
	file := flag.String("file", "Dockerfile", "the Dockerfile")
	keep := flag.Bool("keep", false, "keep the temporary directory")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	stages, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	if len(stages) != 2 {
		return fmt.Errorf("%s: %d stages, want a build stage and a final one", *file, len(stages))
	}
	img, err := describe(stages[1])
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	switch os.Getenv(phaseVariable) {
	case "build":
		return build(os.Getenv("DOCKERCHECK_DIR"), stages)
	case "container":
		return container(os.Getenv("DOCKERCHECK_DIR"), img)
	}

	dir, err := os.MkdirTemp("", "dockercheck-")
	if err != nil {
		return err
	}
	if *keep {
		fmt.Println("dockercheck: files stay in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := again("build", dir, syscall.CLONE_NEWNS, 0); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := again("container", dir, syscall.CLONE_NEWNS, syscall.CLONE_NEWPID|syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("container: %w", err)
	}
	fmt.Println("dockercheck: passed")
	return nil
}

// again starts this program for one phase. Its mounts end with it.
func again(phase, dir string, unshare, clone uintptr) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), phaseVariable+"="+phase, "DOCKERCHECK_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unshare, Cloneflags: clone, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return errors.New("see above")
	}
	return err
}
