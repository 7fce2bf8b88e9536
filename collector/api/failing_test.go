package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/failing"
)

func TestFailing(t *testing.T) {
	report := failing.Report{CheckedAt: testNow, Rows: 7, Incidents: []failing.Incident{
		{Kind: failing.Errors, Method: "POST", Path: "/checkout", Since: testNow.Add(-time.Minute), Share: 0.57},
		{Kind: failing.Slow, Method: "GET", Path: "/search", Since: testNow.Add(-time.Hour), P95: 840_000},
	}}
	h := NewHandler(Options{Failing: func() failing.Report { return report }})
	all := decode[failingAnswer](t, get(t, h, "/api/v1/failing"))
	if all.Total != 2 || len(all.Incidents) != 2 || all.Incidents[0] != report.Incidents[0] || all.Rows != 7 || !all.CheckedAt.Equal(testNow) {
		t.Errorf("%+v", all)
	}
	if one := decode[failingAnswer](t, get(t, h, "/api/v1/failing?limit=1")); one.Total != 2 || len(one.Incidents) != 1 || one.Incidents[0].Path != "/checkout" {
		t.Errorf("%+v", one)
	}
	for target, status := range map[string]int{"/api/v1/failing?limit=0": http.StatusBadRequest, "/api/v1/failing?x=1": http.StatusBadRequest} {
		if resp := get(t, h, target); resp.StatusCode != status {
			t.Errorf("%s: %d", target, resp.StatusCode)
		}
	}
	if resp := get(t, NewHandler(Options{}), "/api/v1/failing"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a watch: %d", resp.StatusCode)
	}
}
