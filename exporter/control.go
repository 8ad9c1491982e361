package exporter

import (
	"context"
	"errors"
	"sync"

	"flowtally/exporter/meter"
	"flowtally/flow"
)

// ErrNotRunning says that there is nobody to ask: Run has not begun, or its
// sources have ended.
var ErrNotRunning = errors.New("exporter: not running")

// Control asks a Run things while it works, from any goroutine. The zero value is
// ready for one Config at a time. A meter answers between two blocks of packets,
// on a quiet interface within a tenth of a second.
type Control struct {
	mu     sync.Mutex
	meters []*metering
	ledger *ledger
	done   chan struct{} // closed when the meters answer no more
	renew  chan<- struct{}
}

// sends notes how to ask sending for templates.
func (c *Control) sends(renew chan<- struct{}) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renew = renew
}

// SendTemplates makes templates, and options where there are any, due at once.
func (c *Control) SendTemplates() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.meters) == 0 {
		return ErrNotRunning
	}
	select {
	case c.renew <- struct{}{}:
	default: // somebody asked already
	}
	return nil
}

func (c *Control) attach(meters []*metering, l *ledger) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meters, c.ledger, c.done = meters, l, make(chan struct{})
}

func (c *Control) detach() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meters = nil
	close(c.done)
}

// Summary returns what was done so far.
func (c *Control) Summary() (Summary, error) {
	c.mu.Lock()
	l := c.ledger
	c.mu.Unlock()
	if l == nil {
		return Summary{}, ErrNotRunning
	}
	return l.summary(), nil
}

// Protocols returns the sums of the flows that ended, by protocol number.
func (c *Control) Protocols(ctx context.Context) (sums [256]meter.Sums, err error) {
	err = c.ask(ctx, func(m *metering) bool {
		for i, s := range m.meter.Protocols() {
			sums[i].Flows += s.Flows
			sums[i].Packets += s.Packets
			sums[i].Bytes += s.Bytes
		}
		return true
	})
	return sums, err
}

// Dump calls each with every flow that lives, as it is now, until that returns
// an error, which Dump returns. The meters go on in between: of flows that end or
// begin meanwhile some come and some do not.
func (c *Control) Dump(ctx context.Context, each func(*flow.Record) error) error {
	var recs []flow.Record
	at := 0
	return c.ask(ctx, func(m *metering) bool {
		recs, at = m.meter.Dump(recs[:0], at, batchRecords)
		return at == 0
	}, func() error {
		for i := range recs {
			if err := each(&recs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Flush ends all flows that live (flow.EndForced) and sends them.
func (c *Control) Flush(ctx context.Context) error {
	return c.ask(ctx, func(m *metering) bool {
		m.finish()
		return true
	})
}

// ask has do done by each meter, again until it returns true, and calls then in
// this goroutine after each time.
func (c *Control) ask(ctx context.Context, do func(*metering) bool, then ...func() error) error {
	c.mu.Lock()
	meters, done := c.meters, c.done
	c.mu.Unlock()
	if len(meters) == 0 {
		return ErrNotRunning
	}
	for _, m := range meters {
		for through := false; !through; {
			answered := make(chan struct{})
			ask := func(m *metering) {
				through = do(m)
				close(answered)
			}
			select {
			case m.asks <- ask:
				<-answered
			case <-done:
				return ErrNotRunning
			case <-ctx.Done():
				return ctx.Err()
			}
			for _, f := range then {
				if err := f(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
