package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/proxy"
)

// listeners are the sockets of the traffic process.
type listeners struct {
	traffic, admin net.Listener
	redirect       net.Listener // nil without redirect_http
	probes         net.Listener // nil without admin.probes
}

// listen tries all addresses, and returns an error for each that cannot be used.
func listen(cfg *configs.Config) (l listeners, err error) {
	var errs [4]error
	l.traffic, errs[0] = listenTCP(cfg, "listen", cfg.Listen, "--listen")
	l.admin, errs[1] = listenTCP(cfg, "admin.listen", cfg.Admin.Listen, "--admin")
	if cfg.RedirectHTTP != "" {
		l.redirect, errs[3] = listenTCP(cfg, "redirect_http", cfg.RedirectHTTP, "redirect_http")
	}
	if cfg.Admin.Probes != "" {
		l.probes, errs[2] = listenTCP(cfg, "admin.probes", cfg.Admin.Probes, "admin.probes")
	}
	return l, errors.Join(errs[:]...)
}

// TryListen listens on the addresses of the configuration and closes the listeners again. The error is that of the start of a traffic
// process.
func TryListen(cfg *configs.Config) error {
	l, err := listen(cfg)
	for _, ln := range []net.Listener{l.traffic, l.redirect, l.admin, l.probes} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	return err
}

// listenTCP listens on the address of a key. None of its errors counts as a wrong configuration, after which systemd would not start
// wayside again. The process that has the address may end. An address that this machine does not have may be added: an IPv6 address is
// unusable while the kernel checks it for duplicates, and a floating address moves between machines.
func listenTCP(cfg *configs.Config, key, addr, flag string) (net.Listener, error) {
	what := map[string]string{"listen": "traffic", "redirect_http": "redirects", "admin.listen": "admin", "admin.probes": "probes"}[key]
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
		return nil, errors.New(err.Error()) // with file and line, but not as an error of the configuration
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return ln, nil
}

// portOf returns the port of a TCP address.
func portOf(addr net.Addr) int {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// reachable returns the address at which a process on this machine reaches a listener: nothing can connect to "all addresses".
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
