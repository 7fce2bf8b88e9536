package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/certtest"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// finding is one finding of testssl.sh.
type finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Finding  string `json:"finding"`
}

// severities lists the severities of findings that count as faults of the listener.
var severities = []string{"MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"}

// notOfTheListener lists findings about the test's certificate and name rather than about wayside: the authority of the certificate has
// no revocation addresses, and the name is not in the DNS.
var notOfTheListener = []string{"cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "OCSP_stapling", "DNS_CAArecord", "overall_grade"}

func testssl(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	all := flags.Bool("all", false, "print every finding")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	tool, err := exec.LookPath("testssl")
	if err != nil {
		return "", fmt.Errorf("testssl.sh is not installed (Debian: apt-get install testssl.sh): %w", err)
	}
	dir, err := os.MkdirTemp("", "wayside-edge-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := startForTestssl(ctx, dir)
	if err != nil {
		return "", err
	}
	defer w.Kill()
	out := filepath.Join(dir, "findings.json")
	cmd := exec.CommandContext(ctx, tool, "--quiet", "--color", "0", "--warnings", "batch", "--hints", "--add-ca", filepath.Join(dir, "ca.pem"),
		"--ip", "127.0.0.1", "--jsonfile", out, "https://edge.test:"+w.Listen[strings.LastIndexByte(w.Listen, ':')+1:])
	text, runErr := cmd.CombinedOutput() // the exit code depends on findings of all severities
	report, err := os.ReadFile(out)
	if err != nil {
		return "", fmt.Errorf("testssl.sh: %w\n%s", errors.Join(runErr, err), text)
	}
	var findings []finding
	if err := json.Unmarshal(report, &findings); err != nil {
		return "", fmt.Errorf("testssl.sh: %w", err)
	}
	return judgeFindings(findings, *all)
}

// judgeFindings counts the findings, and returns an error that lists those that are not acceptable.
func judgeFindings(findings []finding, all bool) (string, error) {
	counts := map[string]int{}
	var errs []error
	for _, f := range findings {
		counts[f.Severity]++
		if all {
			fmt.Printf("%s %s: %s\n", f.Severity, f.ID, f.Finding)
		}
		if id, _, _ := strings.Cut(f.ID, " "); slices.Contains(severities, f.Severity) && !slices.Contains(notOfTheListener, id) {
			errs = append(errs, fmt.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding))
		}
	}
	// A scan that failed or ended early has only a few findings.
	if counts["OK"] < 35 {
		errs = append(errs, fmt.Errorf("only %d checks have passed: the scan is not complete", counts["OK"]))
	}
	return fmt.Sprintf("%d findings, %d of them OK, %d low, %d information", len(findings), counts["OK"], counts["LOW"], counts["INFO"]), errors.Join(errs...)
}

// startForTestssl starts wayside with a typical configuration: certificates with RSA and ECDSA keys, and HSTS. The header fields that the
// route adds are those that a service usually sets itself.
func startForTestssl(ctx context.Context, dir string) (*e2e.Wayside, error) {
	ca, err := certtest.Authority("testssl")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM(), 0o600); err != nil {
		return nil, err
	}
	for name, useRSA := range map[string]bool{"rsa": true, "ecdsa": false} {
		cert, err := ca.Make(certtest.Leaf{Names: []string{"edge.test"}, RSA: useRSA, For: 200 * 24 * time.Hour})
		if err == nil {
			_, _, err = cert.Save(dir, name)
		}
		if err != nil {
			return nil, err
		}
	}
	binary, err := e2e.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	listen, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`listen: %s
tls:
  certificates: [{cert_file: %[2]s/rsa.crt, key_file: %[2]s/rsa.key}, {cert_file: %[2]s/ecdsa.crt, key_file: %[2]s/ecdsa.key}]
  hsts: 365d
routes:
  - name: all
    respond: {status: 200, body: ok}
    response_fields:
      set: ["X-Frame-Options: DENY", "X-Content-Type-Options: nosniff", "Content-Security-Policy: default-src 'none'", "Referrer-Policy: no-referrer"]
`, listen, dir)
	file := filepath.Join(dir, "edge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	w := &e2e.Wayside{Binary: binary, DataDir: filepath.Join(dir, "data"), Listen: listen, Args: []string{"--config", file}}
	return w, w.Start(ctx)
}
