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

// listen listens on all addresses. Its error contains one error for each address that cannot be used.
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

// TryListen listens on the addresses in the configuration and closes the listeners again. It returns the error with which the start of a traffic
// process would fail.
func TryListen(cfg *configs.Config) error {
	l, err := listen(cfg)
	for _, ln := range []net.Listener{l.traffic, l.redirect, l.admin, l.probes} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	return err
}

// listenTCP listens on the address that a key sets. None of its errors counts as a wrong configuration, because systemd would then not start
// wayside again, and each of them may go away: the process that has the address may end, and an address that this machine does not have may
// be added. For example, an IPv6 address is unusable while the kernel checks it for duplicates, and a floating address moves between machines.
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

// reachable returns the address at which a process on this machine reaches a listener: it cannot connect to "all addresses".
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
