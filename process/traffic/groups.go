package traffic

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/proxy"
)

// proxyGroups converts the groups of servers for the proxy: the named groups, or one unnamed group with the servers listed in `upstream`.
func proxyGroups(cfg *configs.Config) []proxy.Group {
	if len(cfg.Upstream) > 0 {
		u := configs.DefaultUpstream()
		for _, url := range cfg.Upstream {
			u.Servers = append(u.Servers, configs.Server{URL: url, Weight: 1})
		}
		return []proxy.Group{proxyGroup(&u)}
	}
	groups := make([]proxy.Group, 0, len(cfg.Upstreams))
	for i := range cfg.Upstreams {
		groups = append(groups, proxyGroup(&cfg.Upstreams[i]))
	}
	return groups
}

func proxyGroup(u *configs.Upstream) proxy.Group {
	g := proxy.Group{
		Name: u.Name, DNS: u.DNS, Balance: proxy.Balance(u.Balance), StickyCookie: u.Sticky.Cookie,
		Check: proxy.Check{
			Path: u.Health.Path, Every: u.Health.Every.Std(), Timeout: u.Health.Timeout.Std(), Fails: u.Health.Fails, Passes: u.Health.Passes,
		},
		Eject:   proxy.Eject{After: orNone(u.Eject.After), For: u.Eject.For.Std(), AtMost: int(u.Eject.AtMost)},
		Retries: orNone(u.Retries), ConnsMax: u.ConnsMax,
		TLS: proxy.UpstreamTLS{
			CAFile: u.TLS.CAFile, CertFile: u.TLS.CertFile, KeyFile: u.TLS.KeyFile, ServerName: u.TLS.ServerName, Insecure: u.TLS.Insecure,
		},
	}
	for _, s := range u.Servers {
		g.Servers = append(g.Servers, proxy.Server{URL: s.URL, Weight: orNone(s.Weight)})
	}
	return g
}

// orNone converts a number for which 0 means none. The proxy expects a negative number for that.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// stickyKeyBytes is the size of the key that signs cookies.
const stickyKeyBytes = 32

// stickyKey returns the key that signs the cookies of sticky groups. The key is stored in the data directory, so clients keep their
// servers when wayside is restarted. If it cannot be stored there, stickyKey returns nil, and the proxy creates a key that lasts only as
// long as the process.
func stickyKey(cfg *configs.Config, log *slog.Logger) []byte {
	needed := false
	for _, u := range cfg.Upstreams {
		needed = needed || u.Sticky.Cookie != ""
	}
	if !needed {
		return nil
	}
	path := filepath.Join(cfg.Data.Dir, datadir.StickyKey)
	key, err := os.ReadFile(path)
	if err == nil && len(key) == stickyKeyBytes {
		return key
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("cannot read the key for sticky cookies; clients may be moved to other servers when wayside starts again", "file", path, "error", err)
		return nil
	}
	key = make([]byte, stickyKeyBytes)
	_, _ = rand.Read(key) // never fails
	if err := disk.WriteFile(path, path+".new", bytes.NewReader(key), 0o600); err != nil {
		log.Warn("cannot store the key for sticky cookies; clients may be moved to other servers when wayside starts again", "file", path, "error", err)
	}
	return key
}
