package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/collector/failing"
	"github.com/wayside-proxy/wayside/collector/live"
)

type described struct {
	Paths map[string]struct {
		Get struct {
			Parameters []struct{ Name, In, Description string }
			Responses  map[string]struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]any }
				}
			}
		}
	}
}

// The description agrees with the handlers: an endpoint accepts exactly the described parameters, and all fields of its response are
// described.
func TestOpenAPIAgreesWithTheHandlers(t *testing.T) {
	s := eventStore(t, "/users/1", "/users/2")
	h := NewHandler(Options{Rows: s, Events: s, Marks: s, Plans: memPlans{}, Live: live.New(live.Options{}), Failing: func() failing.Report { return failing.Report{} }})
	doc := decode[described](t, get(t, h, "/api/v1/openapi.json"))
	if len(doc.Paths) != len(operations) {
		t.Errorf("%d endpoints are described", len(doc.Paths))
	}
	for path, item := range doc.Paths {
		if strings.Contains(path, "{") || path == "/api/v1/storage" {
			continue // needs an id, or a data directory
		}
		known := map[string]bool{}
		for _, p := range item.Get.Parameters {
			known[p.Name] = true
			if p.Description == "" {
				t.Errorf("%s: %s is not explained", path, p.Name)
			}
		}
		for name := range paramTexts {
			body := askOnce(h, path+"?"+name+"=%00", path == "/api/v1/tail" || path == "/api/v1/live")
			if unknown := strings.Contains(body, "unknown parameter") || strings.Contains(body, "takes no parameters"); unknown == known[name] {
				t.Errorf("%s: %s is described: %v, unknown to the handler: %v", path, name, known[name], unknown)
			}
		}
		if _, stream := item.Get.Responses["200"].Content["text/event-stream"]; stream {
			continue
		}
		resp := get(t, h, path)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, resp.Status)
		}
		fields := item.Get.Responses["200"].Content["application/json"].Schema.Properties
		for name := range decode[map[string]any](t, resp) {
			if fields[name] == nil {
				t.Errorf("%s: field %s is not described", path, name)
			}
		}
	}
}

// askOnce returns the body of a response. With leave, the client disconnects at once, which ends a stream.
func askOnce(h http.Handler, path string, leave bool) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if leave {
		cancel()
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return w.Body.String()
}
