package traffic

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/proxy/acme"
	"github.com/wayside-proxy/wayside/proxy/certs"
)

// encryption contains the parts of TLS to clients that are not in the proxy. Its store lives as long as the process, so TLS sessions
// survive reloads.
type encryption struct {
	store *certs.Store // nil if the listener does not use TLS
	acme  *acme.Manager
	log   *slog.Logger
	port  int // port to which redirect_http sends clients
}

// loadCertificates reads the certificates that a configuration names. The error has the configuration key and its position.
func loadCertificates(cfg *configs.Config) (*certs.Loaded, error) {
	o := certs.Options{ClientCAFile: cfg.TLS.ClientCAFile, HTTP2: cfg.Proxy.HTTP2}
	for _, c := range cfg.TLS.Certificates {
		o.Pairs = append(o.Pairs, certs.Pair{CertFile: c.CertFile, KeyFile: c.KeyFile})
	}
	loaded, err := certs.Load(o)
	var bad *certs.PairError
	switch {
	case err == nil:
		return loaded, nil
	case errors.As(err, &bad):
		return nil, cfg.Refuse(fmt.Sprintf("tls.certificates[%d].cert_file", bad.Index), err)
	}
	return nil, cfg.Refuse("tls.client_ca_file", err)
}

// start reads the certificates for the first time.
func (e *encryption) start(t *traffic) error {
	if !t.cfg.TLS.Enabled() {
		return nil
	}
	loaded, err := loadCertificates(t.cfg)
	if err != nil {
		return err
	}
	e.log = t.log
	e.acme = acme.New(e.acmeOptions(t.cfg))
	e.store, e.port = certs.New(t.log, e.acme), portOf(t.listeners.traffic.Addr())
	e.store.Use(loaded)
	return nil
}

// acmeOptions returns the options for certificates issued by an authority. These certificates are stored in the data directory.
func (e *encryption) acmeOptions(cfg *configs.Config) acme.Options {
	o := acme.Options{
		Dir: filepath.Join(cfg.Data.Dir, datadir.ACME), Hosts: cfg.TLS.ACME.Hosts, Directory: cfg.TLS.ACME.Directory, Email: cfg.TLS.ACME.Email,
		HTTP: cfg.RedirectHTTP != "", Logger: e.log,
	}
	if cfg.TLS.ACME.CA != "" {
		if o.CAs, _ = x509.SystemCertPool(); o.CAs == nil {
			o.CAs = x509.NewCertPool()
		}
		o.CAs.AppendCertsFromPEM([]byte(cfg.TLS.ACME.CA)) // cannot fail: the certificates have been validated
	}
	return o
}

// options returns the proxy's TLS options, or nil if TLS is off.
func (e *encryption) options(cfg *configs.Config) *proxy.TLSOptions {
	if e.store == nil {
		return nil
	}
	return &proxy.TLSOptions{Config: e.store.Config, Expiries: e.expiries, HTTPChallenge: e.acme.HTTPChallenge, HSTS: cfg.TLS.HSTS.Std(), Port: e.port}
}

// expiries returns when the certificates expire.
func (e *encryption) expiries() []certs.Expiry {
	list := e.store.Expiries()
	for host, at := range e.acme.Expiries() {
		list = append(list, certs.Expiry{Name: host, NotAfter: at})
	}
	return list
}

// reload reads the certificates that a new configuration names. It returns a function that puts them into effect.
func (e *encryption) reload(cfg *configs.Config) (use func(), err error) {
	if cfg.TLS.Enabled() != (e.store != nil) {
		return nil, errors.New("a reload cannot switch TLS on or off: restart wayside")
	}
	if e.store == nil {
		return func() {}, nil
	}
	loaded, err := loadCertificates(cfg)
	if err != nil {
		return nil, err
	}
	return func() {
		e.store.Use(loaded)
		e.acme.Use(e.acmeOptions(cfg))
	}, nil
}

// serve starts serving the listeners for traffic. If TLS is on, it also starts the tasks that keep the certificates up to date. Each of
// these tasks runs in the background (see [traffic.part]).
func (e *encryption) serve(ctx context.Context, t *traffic) {
	if e.store == nil {
		t.part("proxy", func() error { return t.proxy.Serve(t.listeners.traffic) })
		return
	}
	t.part("certificates", func() error { e.store.Run(ctx); return nil })
	t.part("certificates by ACME", func() error { e.acme.Run(ctx); return nil })
	t.part("proxy", func() error { return t.proxy.ServeTLS(t.listeners.traffic) })
	if t.listeners.redirect != nil {
		t.part("redirect", func() error { return t.proxy.ServeRedirect(t.listeners.redirect) })
	}
}
