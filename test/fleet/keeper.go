package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// keeper is a ZooKeeper from Debian's package, which S3Queue and replicated tables need.
type keeper struct {
	cmd  *exec.Cmd
	port string
}

// haveKeeper reports whether ZooKeeper is installed.
func haveKeeper() bool {
	_, err := os.Stat("/usr/share/java/zookeeper.jar")
	return err == nil
}

func startKeeper(dir string) (*keeper, error) {
	address, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	k := &keeper{}
	if _, k.port, err = net.SplitHostPort(address); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=2000\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n", dir, k.port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	k.cmd = exec.Command("java", "-Xmx256m", "-cp", "/etc/zookeeper/conf:/usr/share/java/*",
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w", err)
	}
	for range 300 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return k, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	k.stop()
	return nil, fmt.Errorf("ZooKeeper does not answer on %s", address)
}

func (k *keeper) stop() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
}
