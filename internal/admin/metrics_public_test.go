package admin

import "testing"

func TestAddUpPaths(t *testing.T) {
	const given = `# TYPE r histogram
r_bucket{http_request_method="GET",http_route="/a",le="0.1"} 1
r_bucket{http_request_method="GET",http_route="/a",le="+Inf"} 3
r_sum{http_request_method="GET",http_route="/a"} 0.5
r_bucket{http_request_method="GET",http_route="/b\\\\\" 7} x",le="0.1"} 2
r_bucket{http_request_method="GET",http_route="/b\\\\\" 7} x",le="+Inf"} 1e+06
r_sum{http_request_method="GET",http_route="/b\\\\\" 7} x"} 0.25
# TYPE g gauge
g{part="spool"} 7
h{path="/c"} 1
wayside_mark_timestamp_seconds{kind="mark",mark="deploy \"2.4\""} 1.7e+09
h{path="/unfinished
`
	const want = `# TYPE r histogram
r_bucket{http_request_method="GET",http_route="(all)",le="0.1"} 3
r_bucket{http_request_method="GET",http_route="(all)",le="+Inf"} 1.000003e+06
r_sum{http_request_method="GET",http_route="(all)"} 0.75
# TYPE g gauge
g{part="spool"} 7
h{path="(all)"} 1
wayside_mark_timestamp_seconds{kind="mark",mark="(all)"} 1.7e+09
`
	if got := string(addUpPaths([]byte(given))); got != want {
		t.Errorf("got:\n%s", got)
	}
}
