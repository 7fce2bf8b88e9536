package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// TestMarks adds marks, tries invalid ones, and lists them.
func TestMarks(t *testing.T) {
	s := eventStore(t)
	now := testNow
	h := NewHandler(Options{Rows: s, Marks: s, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	post := func(body string) *http.Response {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/marks", strings.NewReader(body)))
		return w.Result()
	}
	for _, text := range []string{"deploy 1.4.2", "  rollback "} {
		m := decode[catalogue.Mark](t, post(`{"text":"`+text+`"}`))
		if m.Text != strings.TrimSpace(text) || m.Kind != catalogue.MarkNote || !m.Time.Equal(now) {
			t.Errorf("%q: %+v", text, m)
		}
		now = now.Add(time.Minute)
	}
	for _, body := range []string{
		``, `{}`, `{"text":""}`, `{"text":null}`, `{"text":" "}`, `{"text":"a\nb"}`, `{"text":"\u0007"}`, `{"text":7}`, `{"text":"a","kind":"start"}`, `{"text":"a"}x`,
		`{"text":"` + strings.Repeat("x", catalogue.MarkTextBytesMax+1) + `"}`, `{"text":"` + strings.Repeat("x", markBytesMax) + `"}`,
	} {
		if resp := post(body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%.50s: status %d", body, resp.StatusCode)
		}
	}
	list := decode[marksAnswer](t, get(t, h, "/api/v1/marks"))
	if len(list.Marks) != 2 || list.Marks[0].Text != "deploy 1.4.2" || list.Marks[1].Text != "rollback" {
		t.Errorf("%+v", list)
	}
	if list = decode[marksAnswer](t, get(t, h, "/api/v1/marks?limit=1")); len(list.Marks) != 1 || list.Marks[0].Text != "rollback" {
		t.Errorf("the latest: %+v", list)
	}
	if list = decode[marksAnswer](t, get(t, h, "/api/v1/marks?from=-3h&to=-1h")); len(list.Marks) != 0 {
		t.Errorf("an earlier range: %+v", list)
	}
}
