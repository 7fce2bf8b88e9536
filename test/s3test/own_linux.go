package s3test

import (
	"os/exec"
	"runtime"
	"syscall"
)

// own starts the child and waits for it on one thread.
func (p *process) own(started chan<- error) {
	runtime.LockOSThread() // never unlocked, so the thread ends together with the goroutine, after the child
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // the status does not matter, because the child was killed
	}
	close(p.done)
}

func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
