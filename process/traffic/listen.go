package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/proxy"
)

func (t *traffic) listen() error {
	cfg := t.cfg
	var err error
	if t.trafficLn, err = listenTCP(cfg, "listen", cfg.Listen, "--listen"); err != nil {
		return err
	}
	if t.adminLn, err = listenTCP(cfg, "admin.listen", cfg.Admin.Listen, "--admin"); err != nil {
		return err
	}
	if cfg.Admin.Probes != "" {
		t.probesLn, err = listenTCP(cfg, "admin.probes", cfg.Admin.Probes, "admin.probes")
	}
	return err
}

// listenTCP listens on the address of a key. None of its errors is a wrong configuration, after which systemd would not start wayside
// again: another process may go, and an address that this machine does not have may come, as an IPv6 address does that is still being
// probed, or one that moves between machines.
func listenTCP(cfg *configs.Config, key, addr, flag string) (net.Listener, error) {
	what := map[string]string{"listen": "traffic", "admin.listen": "admin", "admin.probes": "probes"}[key]
	ln, err := proxy.Listen(context.Background(), addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen for %s on %s: another process has this address; stop it or choose another with %s", what, addr, flag)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("listen for %s on %s: %w; ports below 1024 need privileges, choose another with %s", what, addr, err, flag)
	}
	var unknown *net.DNSError
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &unknown) && unknown.IsNotFound {
		err = cfg.Refuse(key, fmt.Errorf("cannot listen on %s: %w; choose an address of this machine, or :PORT for all of them", addr, err))
		return nil, errors.New(err.Error()) // with its place, and not final
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return ln, nil
}
