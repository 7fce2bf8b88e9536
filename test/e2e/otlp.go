package e2e

import (
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/test/otlptest"
)

// SampledPrefix is the beginning of the path of requests that were sent with a traceparent whose sampled flag is set.
const SampledPrefix = "/sampled/"

// CheckSpans compares the spans that a collector received with the archived events. Each span must agree with its event. complete
// requires a span for each event of a sampled request. The events must have been recorded with record.trace_id.
func CheckSpans(export *otlptest.Export, lines []Line, complete bool) error {
	spans, err := export.SpansByEvent()
	if err != nil {
		return err
	}
	for _, l := range lines {
		s := spans[l.EventID]
		delete(spans, l.EventID)
		if sampled := strings.HasPrefix(l.Path, SampledPrefix); s == nil {
			if sampled && complete {
				return fmt.Errorf("event %s (%s) has no span", l.EventID, l.Path)
			}
			continue
		} else if !sampled {
			return fmt.Errorf("event %s (%s) has a span, although it was not sampled", l.EventID, l.Path)
		}
		got := otlptest.Attributes(s.GetAttributes())
		for key, want := range map[string]string{
			"url.path": l.Path, "url.template": l.Label, "http.request.method": l.Method, "http.response.status_code": strconv.Itoa(l.Status),
			"wayside.upstream_address": l.Server, "error.type": l.Error,
		} {
			if got[key] != want {
				return fmt.Errorf("event %s: %s is %q in the span, %q in the archive", l.EventID, key, got[key], want)
			}
		}
		took, _ := strconv.ParseUint(got["wayside.duration_us"], 10, 64)
		if hex.EncodeToString(s.GetTraceId()) != l.TraceID || s.GetEndTimeUnixNano() != uint64(l.Time.UnixNano()) || took != l.Micros ||
			s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano() < 1000*took {
			return fmt.Errorf("event %s: trace or times differ: %v, %+v", l.EventID, s, l)
		}
		if failed := s.GetStatus().GetCode() == 2; failed != (l.Status >= 500 || l.Error != "") {
			return fmt.Errorf("event %s: status %v for %+v", l.EventID, s.GetStatus(), l)
		}
	}
	if len(spans) > 0 {
		return fmt.Errorf("%d spans have no event: %v", len(spans), spans)
	}
	return nil
}

// CheckMetrics compares the last metrics that a collector received with the archived events: the number of responses by method, path template and
// status. The books process must have started only once.
func CheckMetrics(export *otlptest.Export, lines []Line) error {
	want := map[string]float64{}
	for _, l := range lines {
		if l.Kind != "drop" {
			want[fmt.Sprintf("http_server_request_duration_seconds_count{http_request_method=%q,http_response_status_code=%q,http_route=%q}",
				l.Method, strconv.Itoa(l.Status), l.Label)]++
		}
	}
	got := export.Series()
	maps.DeleteFunc(got, func(name string, _ float64) bool {
		return !strings.HasPrefix(name, "http_server_request_duration_seconds_count")
	})
	if !maps.Equal(got, want) {
		return fmt.Errorf("the collector has the counts %v, the archive %v", got, want)
	}
	return nil
}
