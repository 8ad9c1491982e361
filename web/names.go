package web

import (
	"container/list"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
)

const pathNames = "/api/v1/names"

const (
	// maxNames is how many names are remembered.
	maxNames = 20_000
	// nameLife is how long a name is believed, and noNameLife that there is none.
	nameLife, noNameLife = 2 * time.Hour, 10 * time.Minute
	// nameTimeout bounds one look-up, nameWait how long an answer waits for it.
	nameTimeout, nameWait = 5 * time.Second, time.Second
	// maxLookups is how many look-ups are under way at once, and maxWaiting how
	// many more wait for their turn; what is beyond is asked for the next time.
	maxLookups, maxWaiting = 16, 512
)

// names knows what the name service calls addresses. It never holds an answer up
// for longer than nameWait: what comes later is remembered for the next.
type names struct {
	look func(ctx context.Context, addr string) ([]string, error) // nil: nobody is asked
	now  func() time.Time

	mu      sync.Mutex
	byAddr  map[netip.Addr]*list.Element
	recent  *list.List // of *nameEntry, the one asked for last in front
	pending map[netip.Addr]chan struct{}
	turns   chan struct{}
}

type nameEntry struct {
	addr  netip.Addr
	name  string // "" when it has none
	until time.Time
}

// newNames returns names that ask the resolver of the system, or the server at
// the address when one is given (host or host:port); none when off.
func newNames(off bool, server string) (*names, error) {
	n := &names{
		now: time.Now, byAddr: make(map[netip.Addr]*list.Element), recent: list.New(),
		pending: make(map[netip.Addr]chan struct{}), turns: make(chan struct{}, maxLookups),
	}
	if off {
		return n, nil
	}
	r := &net.Resolver{}
	if server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
		}
		if _, _, err := net.SplitHostPort(server); err != nil {
			return nil, fmt.Errorf("web: name server %q: write it as address or address:port", server)
		}
		r.PreferGo = true
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}
	}
	n.look = r.LookupAddr
	return n, nil
}

// of returns the names that are known, or become known in time; addresses
// without a name are left out.
func (n *names) of(ctx context.Context, addrs []netip.Addr) map[netip.Addr]string {
	out := make(map[netip.Addr]string, len(addrs))
	if n.look == nil {
		return out
	}
	var waits []chan struct{}
	n.mu.Lock()
	for _, a := range addrs {
		if a.IsUnspecified() || a.IsMulticast() {
			continue
		}
		if e := n.get(a); e != nil && n.now().Before(e.until) {
			continue
		}
		done, ok := n.pending[a]
		if !ok {
			if len(n.pending) >= maxLookups+maxWaiting {
				continue
			}
			done = make(chan struct{})
			n.pending[a] = done
			go n.find(a, done)
		}
		waits = append(waits, done)
	}
	n.mu.Unlock()

	late := time.NewTimer(nameWait)
	defer late.Stop()
wait:
	for _, done := range waits {
		select {
		case <-done:
		case <-late.C:
			break wait
		case <-ctx.Done():
			break wait
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		if e := n.get(a); e != nil && e.name != "" {
			out[a] = e.name
		}
	}
	return out
}

// get returns what is remembered of an address, and moves it to the front.
func (n *names) get(a netip.Addr) *nameEntry {
	e, ok := n.byAddr[a]
	if !ok {
		return nil
	}
	n.recent.MoveToFront(e)
	return e.Value.(*nameEntry)
}

// find looks an address up. It outlives the request that wanted it: the next
// one will want it too.
func (n *names) find(a netip.Addr, done chan struct{}) {
	n.turns <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	found, err := n.look(ctx, a.String())
	cancel()
	<-n.turns
	entry := &nameEntry{addr: a, until: n.now().Add(noNameLife)}
	if err == nil {
		for _, name := range found {
			if name = flow.HostName(name); name != "" {
				entry.name, entry.until = name, n.now().Add(nameLife)
				break
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pending, a)
	close(done)
	if e, ok := n.byAddr[a]; ok {
		e.Value = entry
		n.recent.MoveToFront(e)
		return
	}
	n.byAddr[a] = n.recent.PushFront(entry)
	for n.recent.Len() > maxNames {
		last := n.recent.Back()
		n.recent.Remove(last)
		delete(n.byAddr, last.Value.(*nameEntry).addr)
	}
}

type namesInput struct {
	Addr []string `query:"addr,explode" maxItems:"100" doc:"An address; repeatable, at most 100 times."`
}

type namesOutput struct {
	Body struct {
		Names map[string]string `json:"names" doc:"What addresses are called; those without a name, or whose name did not come in time, are left out."`
	}
}

func (s *server) namesOf(ctx context.Context, in *namesInput) (*namesOutput, error) {
	addrs := make([]netip.Addr, len(in.Addr))
	for i, text := range in.Addr {
		a, err := parseAddr(text)
		if err != nil {
			return nil, parameterProblem("addr", text, err.Error())
		}
		addrs[i] = a
	}
	found := s.names.of(ctx, addrs)
	out := &namesOutput{}
	out.Body.Names = make(map[string]string, len(found))
	for i, a := range addrs {
		if name, ok := found[a]; ok {
			out.Body.Names[in.Addr[i]] = name // as it was asked for
		}
	}
	return out, nil
}

func (s *server) routeNames(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "names", Method: http.MethodGet, Path: pathNames,
		Summary:     "Names of addresses",
		Description: "What the name service calls addresses: cached, and answered in about a second with what is known by then.",
		Errors:      failures,
	}, s.namesOf)
}
