package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	slowConnections = 1000
	slowSeconds     = 16
	healthyRate     = 200      // requests per second
	slowPage        = 16 << 20 // more than the kernel will buffer for the proxy
)

// slow occupies a thousand connections with slowhttptest, in each of its three modes, and compares the latency of healthy requests during
// each attack with a baseline.
func slow(ctx context.Context, r *rig) (string, error) {
	tool, err := exec.LookPath("slowhttptest")
	if err != nil {
		return "", fmt.Errorf("%w; on Debian: apt-get install slowhttptest", err)
	}
	page := make([]byte, slowPage)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if req.URL.Path == "/page" {
			_, _ = w.Write(page)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer origin.Close()
	if err := r.start(ctx, origin.URL); err != nil {
		return "", err
	}
	base := "http://" + r.wayside.Listen
	if _, _, err := healthy(base, 2*time.Second); err != nil { // warm up
		return "", err
	}
	var errs []error
	var out []string
	for _, way := range [][]string{
		{"-H", "-i", "5", "-u", base + "/"},
		{"-B", "-i", "5", "-s", "8192", "-u", base + "/"},
		{"-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-u", base + "/page"},
	} {
		baseline, _, err := healthy(base, 6*time.Second)
		if err != nil {
			return strings.Join(out, ", "), fmt.Errorf("without slow clients: %w", err)
		}
		args := append(way, "-c", fmt.Sprint(slowConnections), "-r", "500", "-l", fmt.Sprint(slowSeconds), "-p", "3",
			"-o", filepath.Join(r.dir, "slow"))
		cmd := exec.CommandContext(ctx, tool, args...)
		var report strings.Builder
		cmd.Stdout, cmd.Stderr = &report, &report
		if err := cmd.Start(); err != nil {
			return "", err
		}
		time.Sleep(4 * time.Second) // wait until the connections of slowhttptest are open
		held := r.connections(ctx)
		during, n, err := healthy(base, 8*time.Second)
		_ = cmd.Wait()
		if err != nil {
			errs = append(errs, fmt.Errorf("with slowhttptest %s: %w", way[0], err))
		}
		if during > 2*baseline {
			errs = append(errs, fmt.Errorf("with slowhttptest %s: p99 is %v, without it %v", way[0], during, baseline))
		}
		if held < slowConnections/2 {
			errs = append(errs, fmt.Errorf("with slowhttptest %s: only %d connections were held", way[0], held))
		}
		out = append(out, fmt.Sprintf("%s: %d connections, %d healthy requests, p99 %v, baseline %v",
			way[0], held, n, during.Round(10*time.Microsecond), baseline.Round(10*time.Microsecond)))
	}
	return strings.Join(out, "; "), errors.Join(errs...)
}

// connections returns the current number of client connections of wayside.
func (r *rig) connections(ctx context.Context) (n int) {
	text, err := r.wayside.Ask(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "wayside_proxy_client_connections %d", &n); err == nil {
			return n
		}
	}
	return -1
}

// healthy sends requests at a constant rate. It returns the p99 of their latency, measured from the time at which each
// was due.
func healthy(base string, d time.Duration) (p99 time.Duration, n int, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	type result struct {
		took time.Duration
		err  error
	}
	count := int(d.Seconds() * healthyRate)
	results := make(chan result, count)
	began := time.Now()
	for i := range count {
		due := began.Add(time.Duration(i) * time.Second / healthyRate)
		time.Sleep(time.Until(due))
		go func() {
			resp, err := client.Get(base + "/healthy")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			results <- result{time.Since(due), err}
		}()
	}
	var list []time.Duration
	for range count {
		r := <-results
		if r.err != nil {
			err = r.err
			continue
		}
		list = append(list, r.took)
	}
	if len(list) == 0 {
		return 0, 0, err
	}
	return percentile(list, 99), len(list), err
}
