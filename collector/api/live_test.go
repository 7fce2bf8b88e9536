package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/live"
	"github.com/wayside-proxy/wayside/collector/snapshot"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// openStream opens a stream of server-sent events and returns a function that reads the next one.
func openStream(t *testing.T, h http.Handler, target string) func() (name, data string) {
	t.Helper()
	server := httptest.NewServer(h)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); server.Close() })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s %s", target, resp.Status, body)
	}
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), ":") {
		t.Fatalf("the stream begins with %q", lines.Text())
	}
	return func() (name, data string) {
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return name, v
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return "", ""
	}
}

func TestTailFiltersEvents(t *testing.T) {
	feed := live.New(live.Options{})
	h := NewHandler(Options{Live: feed, Service: "shop"})
	next := openStream(t, h, "/api/v1/tail?status=5xx&min_duration=5ms&prefix=/pay")
	apply := func(seq uint64, path string, status uint16, took time.Duration) {
		b := feed.Begin(uuid.UUID{1})
		defer b.Close()
		b.Add(catalogue.RowName{Host: "shop.example", Method: "POST", Label: path}, seq, &event.Event{
			Kind: event.KindRequest, Status: status, DurationMicros: uint64(took.Microseconds()), TimeMicros: time.Now().UnixMicro(),
			Method: []byte("POST"), Path: []byte(path), Host: []byte("shop.example"),
		})
	}
	apply(1, "/payments", 201, time.Second)
	apply(2, "/payments", 503, time.Millisecond)
	apply(3, "/orders", 503, time.Second)
	apply(4, "/payments/<script>", 503, time.Second)
	name, data := next()
	var e Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		t.Fatal(err)
	}
	if name != "event" || e.Seq != 4 || e.Path != "/payments/<script>" || e.Status != 503 || e.Service != "shop" {
		t.Errorf("%s: %+v", name, e)
	}
	if strings.Contains(data, "<script>") {
		t.Errorf("markup is not escaped: %s", data)
	}
}

func TestTailRefusesBadParameters(t *testing.T) {
	h := NewHandler(Options{Live: live.New(live.Options{})})
	for _, query := range []string{"status=abc", "min_duration=fast", "colour=red", "kind=x"} {
		if resp := get(t, h, "/api/v1/tail?"+query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	if resp := get(t, NewHandler(Options{}), "/api/v1/tail"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a feed: %s", resp.Status)
	}
}

func TestLiveAnnouncesEachSnapshot(t *testing.T) {
	history := new(snapshot.History)
	history.Add(&snapshot.Snapshot{Version: 1})
	next := openStream(t, NewHandler(Options{Snapshots: history}), "/api/v1/live")
	for version := uint64(1); version <= 3; version++ {
		name, data := next()
		var got struct{ Version uint64 }
		if err := json.Unmarshal([]byte(data), &got); err != nil || name != "snapshot" || got.Version != version {
			t.Errorf("%s %s, want version %d (%v)", name, data, version, err)
		}
		history.Add(&snapshot.Snapshot{Version: version + 1})
	}
}

func TestRecent(t *testing.T) {
	now := time.Now()
	h := NewHandler(Options{Live: live.New(live.Options{Now: func() time.Time { return now }})})
	now = now.Add(time.Hour) // for a full half hour
	answer := decode[live.Recent](t, get(t, h, "/api/v1/recent"))
	if len(answer.Totals.Count) != live.Steps || answer.Paths == nil {
		t.Errorf("%+v", answer)
	}
	if resp := get(t, h, "/api/v1/recent?x=1"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a parameter: %s", resp.Status)
	}
}
