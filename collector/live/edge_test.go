package live

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// TestCallsAndRoutes: gRPC calls are counted by method and code, and responses by configured route. Both are bounded,
// and their counts add up.
func TestCallsAndRoutes(t *testing.T) {
	w := newWorld(2)
	want := map[string]float64{}
	b := w.Begin(uuid.Nil)
	for i := range 3000 {
		code := i % (event.GRPCCodeOther + 1)
		method, route := fmt.Sprintf("/a.Service/M%d", i%4), fmt.Sprintf("route-%d", i%(2*namedMax))
		e := event.Event{Kind: event.KindRequest, Status: 200, TimeMicros: w.now.UnixMicro(), GRPCStatus: event.GRPCOf(code)}
		b.Add(catalogue.RowName{Host: "shop", Method: "POST", Label: method, Route: route}, uint64(i), &e)
		want["calls"]++
		want["responses"]++
		want[fmt.Sprintf("code %d", code)]++
		if e.IsError() {
			want["errors"]++
		}
	}
	plain := event.Event{Kind: event.KindRequest, Status: 500, TimeMicros: w.now.UnixMicro()}
	b.Add(catalogue.RowName{Host: "shop", Method: "POST", Label: "/a.Service/M0"}, 9999, &plain) // counted as neither
	b.Close()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.Feed)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, series := map[string]float64{}, map[string]int{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series[family.GetName()]++
			switch family.GetName() {
			case "wayside_grpc_responses_total":
				got["calls"] += m.GetCounter().GetValue()
				got["code "+label(m, "rpc_grpc_status_code")] += m.GetCounter().GetValue()
			case "wayside_route_responses_total":
				got["responses"] += m.GetCounter().GetValue()
			case "wayside_route_errors_total":
				got["errors"] += m.GetCounter().GetValue()
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if series["wayside_grpc_responses_total"] > 3*18 || series["wayside_route_errors_total"] != namedMax+1 {
		t.Errorf("%v", series)
	}
}
