package s3test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/wayside-proxy/wayside/test/loopback"
)

// StartFake runs gofakes3, a second and simpler S3 server. It checks no signatures and keeps everything in memory, so [Server.ObjectPath]
// cannot be used, and the objects are lost in a Restart. The caller must end it with Stop.
func StartFake(dir string) (*Server, error) {
	bin, err := FakeBinary()
	if err != nil {
		return nil, err
	}
	s := &Server{Bucket: "wayside-fake", AccessKey: "any", SecretKey: "anything", Region: "us-east-1", dir: dir}
	if s.address, err = loopback.FreeAddress(); err != nil {
		return nil, err
	}
	s.Endpoint = "http://" + s.address
	log, err := os.OpenFile(filepath.Join(dir, "s3server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of the S3 server: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(bin, s.address, s.Bucket)
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = startProcess(cmd); err != nil {
		return nil, fmt.Errorf("start the S3 server: %w", err)
	}
	if err := s.ready(); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w; end of its log:\n%s", err, s.Log(2000))
	}
	return s, nil
}
