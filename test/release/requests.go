package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
)

// get sends a request on a new connection. The response must be that of the origin.
func get(url string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != e2e.OriginBody) {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return err
}

// send sends n requests, of which none may fail.
func (p *packages) send(n int) error {
	for i := range n {
		if err := get(fmt.Sprintf("http://%s/items/%d", p.listen, i)); err != nil {
			return err
		}
		p.served++
	}
	return nil
}

// client sends requests, one after the other, until it is stopped or a request fails.
type client struct {
	quit chan struct{}
	done chan struct{}
	n    uint64 // responses; valid when done is closed, like err
	err  error
}

func (p *packages) keepSending() *client {
	c := &client{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			select {
			case <-c.quit:
				return
			default:
			}
			if c.err = get("http://" + p.listen + "/during-the-upgrade"); c.err != nil {
				return
			}
			c.n++
		}
	}()
	return c
}

func (c *client) stop() (uint64, error) {
	close(c.quit)
	<-c.done
	return c.n, c.err
}

// books returns the version of the running wayside. Its books must be complete: they have exactly the responses that clients have received.
func (p *packages) books(ctx context.Context) (version string, err error) {
	w, err := e2e.Attach(filepath.Join(p.root, dataDir))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	a, err := w.AwaitSettled(ctx)
	if err != nil {
		return "", err
	}
	if a.Responses != p.served || a.Aggregated != p.served {
		return "", fmt.Errorf("clients have received %d responses, the books have %+v", p.served, a)
	}
	return w.Info().Version, nil
}
