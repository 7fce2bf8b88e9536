package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wayside-proxy/wayside/proxy/upstream"
)

var (
	descInFlight      = prometheus.NewDesc("wayside_proxy_requests_in_flight", "Requests in progress, including streams.", nil, nil)
	descClientConns   = prometheus.NewDesc("wayside_proxy_client_connections", "Open client connections.", nil, nil)
	descUpstreamConns = prometheus.NewDesc("wayside_proxy_upstream_connections", "Open upstream connections.", []string{"state"}, nil)
	descResponses     = prometheus.NewDesc("wayside_proxy_responses_total", "Responses by status class, including those that wayside itself makes.", []string{"class"}, nil)
	descFailures      = prometheus.NewDesc("wayside_proxy_failures_total", "Requests that failed, by error type.", []string{"error_type"}, nil)
	descRetries       = prometheus.NewDesc("wayside_proxy_retries_total", "Requests sent again, to the same server or to another one.", nil, nil)
	descBadHeaders    = prometheus.NewDesc("wayside_proxy_protocol_failures_total", "Connections from balancers in proxy_protocol that did not begin with a valid PROXY header.", nil, nil)
	descUndelivered   = prometheus.NewDesc("wayside_proxy_undelivered_total", "Responses that the client did not receive completely, although they were recorded as sent.", nil, nil)
	descH2Conns       = prometheus.NewDesc("wayside_proxy_http2_connections_total", "Client connections that have spoken HTTP/2.", nil, nil)
	descH2Streams     = prometheus.NewDesc("wayside_proxy_http2_streams", "Open HTTP/2 streams.", nil, nil)
	descH2Resets      = prometheus.NewDesc("wayside_proxy_http2_resets_total", "HTTP/2 streams that ended early, because the client reset them or violated the protocol.", nil, nil)
	descH2Limits      = prometheus.NewDesc("wayside_proxy_http2_limits_total", "How often HTTP/2 clients exceeded a limit. If it is the limit for streams, the stream was refused; otherwise the connection was closed.", []string{"limit"}, nil)

	descUpConns     = prometheus.NewDesc("wayside_upstream_connections", "Open connections to an upstream.", []string{"group", "upstream", "state"}, nil)
	descUpConnects  = prometheus.NewDesc("wayside_upstream_connects_total", "Attempts to connect to an upstream, by result.", []string{"group", "upstream", "result"}, nil)
	descUpResponses = prometheus.NewDesc("wayside_upstream_responses_total", "Responses to requests for an upstream, by status class.", []string{"group", "upstream", "class"}, nil)
	descUpFailures  = prometheus.NewDesc("wayside_upstream_failures_total", "Requests for an upstream that failed, by error type.", []string{"group", "upstream", "error_type"}, nil)
	descUpRetried   = prometheus.NewDesc("wayside_upstream_retried_total", "Requests that failed at a server and were sent to another one.", []string{"group", "upstream"}, nil)
	descUpEjections = prometheus.NewDesc("wayside_upstream_ejections_total", "How often failed requests have taken a server out of use.", []string{"group", "upstream"}, nil)
	descUpChecks    = prometheus.NewDesc("wayside_upstream_checks_total", "Active checks of a server, by result.", []string{"group", "upstream", "result"}, nil)
	descUpAvailable = prometheus.NewDesc("wayside_upstream_available", "1 if a server in a group receives requests, 0 if its checks fail or it is ejected.", []string{"group", "upstream"}, nil)
	descUpFirstByte = prometheus.NewDesc("wayside_upstream_first_byte_seconds", "Time from when an upstream has received a request until the header of its response arrives.", []string{"group", "upstream"}, nil)
)

// Collector exposes [Proxy.Metrics] to Prometheus. It reads them at each scrape, so nothing has to be counted twice on the traffic path.
func (p *Proxy) Collector() prometheus.Collector { return collector{p} }

type collector struct{ p *Proxy }

// Describe sends nothing, which makes this an unchecked collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current values.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	p := c.p.Metrics()
	gauge(descInFlight, float64(p.InFlight))
	gauge(descClientConns, float64(p.ClientConns))
	gauge(descUpstreamConns, float64(p.UpstreamIdle), "idle")
	gauge(descUpstreamConns, float64(p.UpstreamConns-p.UpstreamIdle), "busy")
	count(descRetries, float64(p.Retries))
	count(descUndelivered, float64(p.Undelivered))
	count(descH2Conns, float64(p.HTTP2Conns))
	gauge(descH2Streams, float64(p.HTTP2Streams))
	count(descH2Resets, float64(p.HTTP2Resets))
	for limit, n := range p.HTTP2Limits {
		count(descH2Limits, float64(n), limit)
	}
	if len(c.p.current.Load().o.ProxyProtocol) > 0 {
		count(descBadHeaders, float64(c.p.metrics.badHeaders.Load()))
	}
	for class := 1; class < len(p.Responses); class++ {
		count(descResponses, float64(p.Responses[class]), strconv.Itoa(class)+"xx")
	}
	for kind, n := range p.Failures {
		count(descFailures, float64(n), kind)
	}
	c.p.collectTLS(gauge, count)
	collectUpstreams(p.Upstreams, gauge, count)
	for _, g := range c.p.Groups() {
		for _, s := range g.Servers {
			available := 0.0
			if s.State == upstream.Up.String() {
				available = 1
			}
			gauge(descUpAvailable, available, g.Name, s.Upstream)
		}
	}
	for _, u := range p.Upstreams {
		buckets := make(map[float64]uint64, len(u.FirstByte))
		for bound, n := range u.FirstByte {
			buckets[bound.Seconds()] = uint64(n)
		}
		out <- prometheus.MustNewConstHistogram(descUpFirstByte, uint64(u.FirstByteCount), u.FirstByteSum.Seconds(), buckets, u.Group, u.Name)
	}
}

func collectUpstreams(list []UpstreamMetrics, gauge, count func(*prometheus.Desc, float64, ...string)) {
	for _, u := range list {
		gauge(descUpConns, float64(u.Idle), u.Group, u.Name, "idle")
		gauge(descUpConns, float64(u.Conns-u.Idle), u.Group, u.Name, "busy")
		count(descUpConnects, float64(u.Connects), u.Group, u.Name, "ok")
		count(descUpConnects, float64(u.ConnectErrors), u.Group, u.Name, "error")
		count(descUpRetried, float64(u.Retried), u.Group, u.Name)
		count(descUpEjections, float64(u.Ejections), u.Group, u.Name)
		if u.ChecksPassed+u.ChecksFailed > 0 {
			count(descUpChecks, float64(u.ChecksPassed), u.Group, u.Name, "passed")
			count(descUpChecks, float64(u.ChecksFailed), u.Group, u.Name, "failed")
		}
		for class := 1; class < len(u.Responses); class++ {
			count(descUpResponses, float64(u.Responses[class]), u.Group, u.Name, strconv.Itoa(class)+"xx")
		}
		for kind, n := range u.Failures {
			count(descUpFailures, float64(n), u.Group, u.Name, kind)
		}
	}
}
