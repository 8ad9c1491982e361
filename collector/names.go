package collector

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"flowtally/flow"
)

// SplitListen takes NAME=ADDRESS apart; an address alone has no name.
func SplitListen(s string) (name, addr string, err error) {
	name, addr, named := strings.Cut(s, "=")
	if !named {
		return "", s, nil
	}
	if name == "" || flow.Name(name) != name {
		return "", "", fmt.Errorf("collector: %q is no name of a listener: write NAME=ADDRESS, as edge-1=:9996, or the address alone; a name is one line and no address", name)
	}
	return name, addr, nil
}

const (
	// announceTime is how long what an exporter calls itself stays at least, so that one who
	// is called otherwise in each message does not have the store write as often.
	announceTime = flow.Minute
	// lookUps is how many exporters are looked up at once, lookUpTime how long each may take.
	lookUps    = 4
	lookUpTime = 5 * time.Second
	// lookUpAgain is after how long a name is asked for again, noNameAgain when there was none.
	lookUpAgain, noNameAgain = 24 * time.Hour, time.Hour
)

// call takes over what the exporter is called: by the listener that it came in on, which
// stays while anything comes in there, and by itself.
func (e *exporterState) call(r *receipt) {
	switch {
	case r.listener == e.Listener:
		e.listenerAt = r.now
	case e.listenerAt == 0 || r.now-e.listenerAt >= silentTime:
		e.Listener, e.listenerAt = r.listener, r.now
	}
	if r.m.Name == "" {
		return
	}
	if name := flow.Name(r.m.Name); name != "" && name != e.Announced && (e.announcedAt == 0 || r.now-e.announcedAt >= announceTime) {
		e.Announced, e.announcedAt = name, r.now
	}
}

// lookUp asks reverse DNS for the names of exporters, until ctx ends. Nobody waits for it:
// what it finds goes with a later report. An address is asked for when its exporter has sent
// records and has no other name, and is one that means the same elsewhere.
func (p *process) lookUp(ctx context.Context) {
	var (
		asked = make(map[flow.Addr]time.Time) // when to ask again
		mu    sync.Mutex
		tick  = time.NewTicker(time.Second)
	)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		var asking sync.WaitGroup
		n := 0
		for _, a := range p.ledger.nameless() {
			mu.Lock()
			wait := now.Before(asked[a])
			mu.Unlock()
			if wait || n >= lookUps {
				continue
			}
			n++
			asking.Go(func() {
				name := p.nameOf(ctx, a.Netip())
				p.ledger.name(a, name)
				again := noNameAgain
				if name != "" {
					again = lookUpAgain
				}
				mu.Lock()
				defer mu.Unlock()
				asked[a] = now.Add(again + rand.N(again/4))
			})
		}
		asking.Wait()
		for a, at := range asked { // of exporters that gave way
			if now.After(at) {
				delete(asked, a)
			}
		}
	}
}

// nameOf returns what reverse DNS calls an address, "" when it calls it nothing.
func (p *process) nameOf(ctx context.Context, a netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	found, err := p.LookUp(ctx, a.String())
	if err != nil {
		return ""
	}
	for _, name := range found {
		if name = flow.Name(flow.HostName(name)); name != "" {
			return name
		}
	}
	return ""
}

// nameless returns the addresses of exporters that are called nothing but perhaps by DNS.
// Those of this machine and of the link are called the same on every machine.
func (l *ledger) nameless() (list []flow.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[flow.Addr]bool)
	for _, e := range l.exporters {
		n := e.Addr.Netip()
		if e.Records == 0 || e.Listener != "" || e.Announced != "" || seen[e.Addr] || n.IsLoopback() || n.IsLinkLocalUnicast() || n.IsMulticast() || n.IsUnspecified() {
			continue
		}
		seen[e.Addr] = true
		list = append(list, e.Addr)
	}
	return list
}

// name takes over what DNS calls an address, for all exporters of it.
func (l *ledger) name(a flow.Addr, name string) {
	if name == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.exporters {
		if e.Addr == a && e.DNS != name {
			e.DNS, e.changed = name, true
		}
	}
}
