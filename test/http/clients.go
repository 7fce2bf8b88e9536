package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

const (
	curlBytes  = 5_000_000
	sseEvents  = 20
	browserMax = 30 * time.Second
)

// curl uploads a file in several ways and downloads it, both as a whole and in ranges. The bytes must be the same on both sides.
func curl(ctx context.Context, r *rig) (string, error) {
	content := make([]byte, curlBytes)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	var received atomic.Pointer[[]byte]
	files := http.FileServer(http.Dir(r.dir))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/form":
			file, _, err := req.FormFile("file")
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body, _ := io.ReadAll(file)
			received.Store(&body)
		case req.Method == http.MethodPut || req.Method == http.MethodPost:
			body, _ := io.ReadAll(req.Body)
			received.Store(&body)
			w.WriteHeader(http.StatusCreated)
		default:
			files.ServeHTTP(w, req)
		}
	}))
	defer origin.Close()
	file := filepath.Join(r.dir, "content")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return "", err
	}
	if err := r.start(ctx, origin.URL); err != nil {
		return "", err
	}
	base := "http://" + r.wayside.Listen
	var errs []error
	uploads := [][]string{
		{"-T", file, base + "/put"}, // with Expect: 100-continue
		{"-T", file, "-H", "Expect:", base + "/put"},
		{"-T", file, "-H", "Transfer-Encoding: chunked", base + "/put"},
		{"--data-binary", "@" + file, base + "/post"},
		{"-F", "file=@" + file, base + "/form"},
		{"--http1.0", "--data-binary", "@" + file, base + "/post"},
	}
	for _, args := range uploads {
		received.Store(nil)
		_, err := runCurl(ctx, args...)
		if got := received.Load(); err != nil || got == nil || !bytes.Equal(*got, content) {
			errs = append(errs, fmt.Errorf("curl %s: %w; the origin received something else", strings.Join(args, " "), err))
		}
	}
	downloads := []struct {
		want []byte
		args []string
	}{
		{content, []string{base + "/content"}},
		{content[100:200], []string{"-r", "100-199", base + "/content"}},
		{content[len(content)-5000:], []string{"-r", "-5000", base + "/content"}},
		{content[4_000_000:], []string{"-r", "4000000-", base + "/content"}},
		{content, []string{"--http1.0", base + "/content"}},
		{append(bytes.Clone(content), content...), []string{base + "/content", base + "/content"}}, // over one connection
	}
	for _, d := range downloads {
		got, err := runCurl(ctx, d.args...)
		if err != nil || !bytes.Equal(got, d.want) {
			errs = append(errs, fmt.Errorf("curl %s: %d bytes, want %d: %w", strings.Join(d.args, " "), len(got), len(d.want), err))
		}
	}
	multi, err := runCurl(ctx, "-r", "0-9,100-109", base+"/content")
	if err != nil || !bytes.Contains(multi, content[:10]) || !bytes.Contains(multi, content[100:110]) || !bytes.Contains(multi, []byte("Content-Range: bytes 0-9/")) {
		errs = append(errs, fmt.Errorf("several ranges in one request: %.80q, %w", multi, err))
	}
	if status, err := runCurl(ctx, "-r", "99999999-", "-o", "/dev/null", "-w", "%{http_code}", base+"/content"); err != nil || string(status) != "416" {
		errs = append(errs, fmt.Errorf("a range after the end: %s, %w", status, err))
	}
	return fmt.Sprintf("%d ways to upload and %d to download", len(uploads), len(downloads)+2), errors.Join(errs...)
}

func runCurl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "curl", append([]string{"-sS", "--max-time", "30"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return out, err
}

const eventPage = `<!doctype html><script>
let got = [], source = new EventSource('/events');
source.onmessage = e => {
  got.push(e.data);
  if (got.length == 20) { source.close(); fetch('/result', {method: 'POST', body: got.join(',') + ' ' + source.readyState}); }
};
</script>`

// eventSource opens a page through wayside in Chromium, whose EventSource reads events and reports them. The origin
// breaks the stream in the middle, so the browser must reconnect and send the id of the last event.
func eventSource(ctx context.Context, r *rig) (string, error) {
	result, visits := make(chan string, 1), atomic.Int32{}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/events":
			first := 1
			if _, err := fmt.Sscan(req.Header.Get("Last-Event-ID"), &first); err == nil {
				first++
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "retry: 50\n\n")
			visits.Add(1)
			for i := first; i <= sseEvents; i++ {
				_, _ = fmt.Fprintf(w, "id: %d\ndata: %d\n\n", i, i)
				w.(http.Flusher).Flush()
				if i == sseEvents/2 && first == 1 {
					panic(http.ErrAbortHandler)
				}
				time.Sleep(5 * time.Millisecond)
			}
			<-req.Context().Done()
		case "/result":
			body, _ := io.ReadAll(req.Body)
			result <- string(body)
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, eventPage)
		}
	}))
	origin.Config.ErrorLog = nil
	defer origin.Close()
	if err := r.start(ctx, origin.URL); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, browserMax)
	defer cancel()
	var log bytes.Buffer
	browser := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--remote-debugging-port=0", "--user-data-dir="+filepath.Join(r.dir, "chromium"), "http://"+r.wayside.Listen+"/")
	browser.Stdout, browser.Stderr = &log, &log
	browser.WaitDelay = time.Second
	if err := browser.Start(); err != nil {
		return "", err
	}
	defer func() { cancel(); _ = browser.Wait() }()
	want := "1"
	for i := 2; i <= sseEvents; i++ {
		want += fmt.Sprintf(",%d", i)
	}
	select {
	case got := <-result:
		if got != want+" 2" || visits.Load() != 2 {
			return "", fmt.Errorf("the browser reports %q after %d visits, want %q after 2", got, visits.Load(), want)
		}
		return fmt.Sprintf("%d events over %d streams in Chromium", sseEvents, visits.Load()), nil
	case <-ctx.Done():
		return "", fmt.Errorf("the browser reports nothing: %w; its output: %.2000s", ctx.Err(), log.Bytes())
	}
}
