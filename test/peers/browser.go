package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"time"

	"github.com/coder/websocket"
)

//go:embed page.html
var page string

// browserEvents is the number of server-sent events that page.html waits for.
const browserEvents = 20

// browse serves the paths of page.html. It reports whether the request has one of them.
func (o *origin) browse(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	case "/resource":
		_, _ = io.WriteString(w, "resource "+r.URL.RawQuery)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range browserEvents {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	case "/socket":
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return true
		}
		defer func() { _ = conn.CloseNow() }()
		kind, text, err := conn.Read(r.Context())
		if err == nil {
			_ = conn.Write(r.Context(), kind, text)
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	case "/result":
		text, _ := io.ReadAll(r.Body)
		select {
		case o.results <- text:
		default:
		}
	default:
		return false
	}
	return true
}

// checkBrowser opens page.html in a headless Chromium, which reports what it has received.
func checkBrowser(ctx context.Context, l *lab, path string, t target) ([]check, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	var log bytes.Buffer
	browser := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--ignore-certificate-errors",
		"--remote-debugging-port=0", "--user-data-dir="+l.dir+"/chromium", t.url+"/page")
	browser.Stdout, browser.Stderr, browser.WaitDelay = &log, &log, time.Second
	if err := browser.Start(); err != nil {
		return nil, err
	}
	defer func() { cancel(); _ = browser.Wait() }()
	var got struct{ Resources, HTTP2, Events, Socket string }
	select {
	case text := <-l.origin.results:
		if err := json.Unmarshal(text, &got); err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("the browser reports nothing: %.500s", log.Bytes())
	}
	result := func(name, got, want string) check {
		if got != want {
			return check{name, errors.New(got)}
		}
		return check{name, nil}
	}
	return []check{
		result("page with 200 resources", got.Resources, "200"), result("all over HTTP/2", got.HTTP2, "200"),
		result("server-sent events", got.Events, fmt.Sprint(browserEvents)), result("WebSocket", got.Socket, "hello"),
		result("also over HTTP/2", socketVersion(ctx, t), "2"),
	}, nil
}

// socketVersion returns the version of HTTP that the books have for the WebSocket, or the reason why the WebSocket is not there.
func socketVersion(ctx context.Context, t target) string {
	for {
		text, err := t.Ask(ctx, "GET", "/api/v1/events?path=/socket&limit=1")
		if err != nil {
			return err.Error()
		}
		var answer struct {
			Events []struct {
				Version string `json:"network_protocol_version"`
			}
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return err.Error()
		}
		if len(answer.Events) > 0 {
			return answer.Events[0].Version
		}
		time.Sleep(20 * time.Millisecond) // the WebSocket is recorded after its end; Ask fails when the time limit has passed
	}
}
