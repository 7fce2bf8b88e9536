package traffic

import (
	"log/slog"
	"runtime"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/proxy"
)

// proxyOptions converts the configuration into the proxy's options.
func proxyOptions(cfg *configs.Config, tls *proxy.TLSOptions, recorder proxy.Recorder, log *slog.Logger) proxy.Options {
	return proxy.Options{
		TLS:    tls,
		Groups: proxyGroups(cfg), StickyKey: stickyKey(cfg, log), Recorder: recorder, RecorderBlocks: cfg.Spool.Sync == "request", Logger: log,
		Driver:        proxy.Driver(cfg.Proxy.Driver),
		ClientAddress: proxy.ClientAddress(cfg.Record.ClientAddress), TraceID: cfg.Record.TraceID, SpanPercent: cfg.SpanPercent(), RequestID: cfg.Record.RequestID, TrustedProxies: cfg.Proxy.TrustedPrefixes(),
		ProxyProtocol: cfg.ProxyProtocolPrefixes(),
		RecordExclude: proxy.Exclude{Paths: cfg.Record.Exclude.Paths, UserAgents: cfg.Record.Exclude.UserAgents},
		HeaderTimeout: cfg.Proxy.HeaderTimeout.Std(), ReadTimeout: cfg.Proxy.ReadTimeout.Std(),
		IdleTimeout: cfg.Proxy.IdleTimeout.Std(), WriteTimeout: cfg.Proxy.WriteTimeout.Std(),
		ConnectTimeout: cfg.Proxy.ConnectTimeout.Std(), ResponseTimeout: cfg.Proxy.ResponseTimeout.OrOff(), BodyTimeout: cfg.Proxy.BodyTimeout.OrOff(),
		TunnelTimeout: cfg.Proxy.TunnelTimeout.OrOff(), TunnelHalfClosedTimeout: cfg.Proxy.TunnelHalfClosedTimeout.OrOff(),
		MaxIdleUpstream: cfg.Proxy.UpstreamIdle.Std(), MaxConnWait: cfg.Proxy.UpstreamWait.Std(),
		MaxConnsPerUpstream: cfg.Proxy.UpstreamConnsMax, MaxHeaderBytes: cfg.Proxy.HeaderBytesMax.Int(), MaxResponseHeaderBytes: cfg.Proxy.ResponseHeaderBytesMax.Int(),
		MaxConns: cfg.Proxy.ConnsMax, MaxHeldBytes: cfg.Proxy.HeldBytesMax.Int64(), MaxConnsPerAddress: cfg.Proxy.AddressConnsMax, MinBodyRate: cfg.Proxy.BodyRateMin.Int64(),
		TotalTimeout: cfg.Proxy.TotalTimeout.Std(), ResolveInterval: cfg.Proxy.UpstreamResolve.OrOff(), ServerTiming: cfg.Proxy.ServerTiming,
		PassFields: cfg.Proxy.PassFields, NoVia: !cfg.Proxy.Via,
		RequestFields: proxy.FieldRules(cfg.Proxy.RequestFields), ResponseFields: proxy.FieldRules(cfg.Proxy.ResponseFields),
		MaxRequestBodyBytes: cfg.Proxy.BodyBytesMax.Int64(),
		Routes:              proxyRoutes(cfg),
		HTTP2: proxy.HTTP2Options{
			Off: !cfg.Proxy.HTTP2, StreamsMax: cfg.Proxy.HTTP2StreamsMax, WindowBytes: cfg.Proxy.HTTP2WindowBytes.Int(),
			ResetsMax: cfg.Proxy.HTTP2ResetsMax, FramesMax: cfg.Proxy.HTTP2FramesMax,
		},
	}
}

// logWarnings logs the probable mistakes in a configuration.
func logWarnings(log *slog.Logger, cfg *configs.Config) {
	for _, w := range cfg.Warnings() {
		log.Warn("the configuration probably contains a mistake", "place", w.Error())
	}
}

// makeRoom raises GOMAXPROCS, because each event loop permanently takes up one of the threads that GOMAXPROCS allows to run Go code. It
// returns the number of loops: one for each CPU that this process may use.
func makeRoom(cfg *configs.Config) (loops int) {
	loops = runtime.GOMAXPROCS(0)
	if cfg.Proxy.Driver != string(proxy.DriverGoroutine) {
		runtime.GOMAXPROCS(loops + max(loops/2, 1))
	}
	return loops
}

// adminGrace returns how long requests to the admin listeners may still continue during a shutdown. It is part of shutdown.timeout.
func adminGrace(cfg *configs.Config) time.Duration {
	return min(time.Second, cfg.Shutdown.Timeout.Std()/10)
}
