// Command dockercheck builds and runs the Dockerfile's image without a container engine. It reads the commands from the Dockerfile and
// stops at an instruction that it does not know.
//
// It runs as root on Linux, in its own mount namespace and a temporary directory, in three steps:
//
//  1. The build stage: a root with the machine's /usr, /etc and Go toolchain read-only, empty /root, /go and /tmp, and the sources
//     of the last commit (git archive) without the files in .dockerignore. RUN uses chroot and /bin/sh. The module cache of the
//     machine is the first module proxy, so nothing is downloaded twice.
//  2. The final stage: an empty root plus the files of COPY.
//  3. The container: the final root, mounted read-only, with the files that every container runtime adds (/proc, a small /dev, the
//     volume). It runs in new mount, process and network namespaces, as USER, with only ENV in the environment. Requests go through
//     wayside to a small origin, the health check must pass, and SIGTERM must end wayside with exit code 0. Afterwards the archive must
//     have one line per request.
//
// It cannot check that the base images exist and have the assumed contents: Go of the named version in one image, and nothing at all in
// the other.
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
	// Children must die with this process. The kernel kills them when the thread that started them ends, so the main thread, which lives
	// as long as the process, must start them.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dockercheck: FAILED:", err)
		os.Exit(1)
	}
}

// phaseVariable names the environment variable with the step to run. The program starts itself again for each step, in
// new namespaces.
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
		fmt.Println("dockercheck: the files are kept in", dir)
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

// again starts this program for one phase. The mounts of that phase end with it.
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
