package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	loadClients = 16
	loadBefore  = 500 // number of requests answered before SIGTERM
)

// load sends requests, each over a new connection, until no process is listening. Closing a listener resets the connections in its queue,
// and on some kernels a process needs certain privileges to prevent that.
type load struct {
	address  string
	prefix   string // common prefix of the paths
	next     atomic.Int64
	stopping atomic.Bool // set once connections may be refused
	clients  sync.WaitGroup

	mu       sync.Mutex
	answered []string // paths of answered requests; guarded by mu
	broken   []error  // errors of requests that were sent but not answered; guarded by mu
}

func startLoad(address, prefix string) *load {
	l := &load{address: address, prefix: prefix}
	for range loadClients {
		l.clients.Go(l.run)
	}
	return l
}

func (l *load) run() {
	for {
		conn, err := net.DialTimeout("tcp", l.address, checkLimit)
		if err != nil {
			if !l.stopping.Load() {
				l.note("", fmt.Errorf("connect: %w", err))
			}
			return
		}
		path := l.prefix + strconv.FormatInt(l.next.Add(1), 10)
		err = ask(conn, path)
		_ = conn.Close()
		l.note(path, err)
	}
}

func (l *load) note(path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.broken = append(l.broken, err)
		return
	}
	l.answered = append(l.answered, path)
}

// wait returns when enough requests have been answered, or when one has failed.
func (l *load) wait() error {
	for limit := time.Now().Add(startLimit); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		l.mu.Lock()
		enough := len(l.answered) >= loadBefore || len(l.broken) > 0
		l.mu.Unlock()
		if enough {
			return nil
		}
	}
	return fmt.Errorf("%d requests were not answered within %s", loadBefore, startLimit)
}

// end waits for the clients, which stop when connections are refused, and returns the paths of the answered requests.
func (l *load) end() ([]string, error) {
	l.clients.Wait()
	if len(l.broken) > 0 {
		return nil, fmt.Errorf("%d of %d requests were broken by SIGTERM, first: %w", len(l.broken), len(l.answered)+len(l.broken), l.broken[0])
	}
	fmt.Println("dockercheck:", len(l.answered), "requests until SIGTERM, each over its own connection, all answered")
	return l.answered, nil
}

func ask(conn net.Conn, path string) error {
	_ = conn.SetDeadline(time.Now().Add(stopLimit))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return nil
}
