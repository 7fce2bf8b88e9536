package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
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

// listen tries to open all addresses, and returns an error for each that cannot be used. If the service manager has passed a socket that
// listens on one of the addresses, that socket is used. A socket with any other address is an error, because its clients would not be
// served.
func listen(cfg *configs.Config, given []*net.TCPListener) (l listeners, err error) {
	o := opener{cfg: cfg, given: given}
	l.traffic = o.open("listen", cfg.Listen, "--listen")
	l.admin = o.open("admin.listen", cfg.Admin.Listen, "--admin")
	if cfg.RedirectHTTP != "" {
		l.redirect = o.open("redirect_http", cfg.RedirectHTTP, "redirect_http")
	}
	if cfg.Admin.Probes != "" {
		l.probes = o.open("admin.probes", cfg.Admin.Probes, "admin.probes")
	}
	for _, ln := range o.given {
		o.errs = append(o.errs, cfg.Refuse("listen", fmt.Errorf("the service manager has passed a socket for %s, but no key of the configuration has this address: set listen or redirect_http to it, or remove it from the socket unit",
			ln.Addr())))
	}
	return l, errors.Join(o.errs...)
}

// opener opens the listeners of a configuration.
type opener struct {
	cfg   *configs.Config
	given []*net.TCPListener // from the service manager, and not used yet
	errs  []error
}

func (o *opener) open(key, addr, flag string) net.Listener {
	var ln net.Listener
	var err error
	if i := slices.IndexFunc(o.given, func(g *net.TCPListener) bool { return sameAddress(g.Addr(), addr) }); i >= 0 {
		ln, err = proxy.Inherit(o.given[i])
		o.given = slices.Delete(o.given, i, i+1)
	} else {
		ln, err = listenTCP(o.cfg, key, addr, flag)
	}
	if err != nil {
		o.errs = append(o.errs, err)
		return nil
	}
	return ln
}

// sameAddress reports whether a socket listens on a configured address. :443 is the same as 0.0.0.0:443 and [::]:443.
func sameAddress(socket net.Addr, addr string) bool {
	got, ok := socket.(*net.TCPAddr)
	want, err := net.ResolveTCPAddr("tcp", addr)
	if !ok || err != nil || want.Port == 0 || got.Port != want.Port {
		return false
	}
	return got.IP.Equal(want.IP) || got.IP.IsUnspecified() && (len(want.IP) == 0 || want.IP.IsUnspecified())
}

// TryListen listens on the addresses in the configuration and closes the listeners again. It returns the error with which a traffic
// process would fail to start.
func TryListen(cfg *configs.Config) error {
	l, err := listen(cfg, nil)
	for _, ln := range []net.Listener{l.traffic, l.redirect, l.admin, l.probes} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	return err
}

// listenTCP listens on the address that a key sets. None of its errors counts as a wrong configuration, because systemd would then not
// restart wayside. Each of these errors can disappear on its own: the process that uses the address may end, and an address that this
// machine does not have may be added. For example, an IPv6 address is unusable while the kernel checks it for duplicates, and a floating
// address moves between machines.
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
		return nil, errors.New(err.Error()) // with file and line, but not of the type of a configuration error
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

// reachable returns the address at which a process on this machine can reach a listener. It replaces an address that stands for all
// interfaces, because clients need a specific one.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
