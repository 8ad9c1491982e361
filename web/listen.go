package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listen opens the address the page is served on. Beyond loopback it wants to
// be told so: there is no login yet, and flow data says who talks to whom.
func listen(ctx context.Context, addr string, insecure bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("web: cannot listen on %q: write it as address:port, for example 127.0.0.1:8080", addr)
	}
	if !insecure {
		inside, err := onLoopback(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("web: cannot listen on %s: %w", addr, err)
		}
		if !inside {
			return nil, fmt.Errorf("web: refuse to listen on %s: there is no login, so whoever reaches it could read who talks to whom; "+
				"listen on 127.0.0.1:%s and put a proxy with a login in front, or add --insecure when everyone who can connect may see it", addr, port)
		}
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("web: port %s on %s is in use: stop the program that has it, or choose another with --listen", port, orAll(host))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("web: no permission to listen on port %s: choose one above 1023 with --listen", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("web: %s is not an address of this machine: choose one that is with --listen", host)
	}
	return nil, fmt.Errorf("web: cannot listen on %s: %w", addr, err)
}

func orAll(host string) string {
	if host == "" {
		return "all addresses"
	}
	return host
}

// onLoopback reports whether only this machine can reach a listener on host: a
// name counts when every address it has is a loopback address.
func onLoopback(ctx context.Context, host string) (bool, error) {
	if host == "" {
		return false, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false, fmt.Errorf("the name %s has no address: use an address of this machine", host)
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return false, nil
		}
	}
	return len(addrs) > 0, nil
}
