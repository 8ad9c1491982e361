package lab

import "context"

// house holds the parts that run, in the order of their start. They share a fate, but
// not an end: each has a context of its own, so that the last that came is the first
// that goes, and has gone before the next is told.
type house struct {
	ctx    context.Context // ends when a stop is asked for or a part has failed
	cancel context.CancelFunc
	undo   []func() error
}

func newHouse(ctx context.Context) *house {
	h := &house{}
	h.ctx, h.cancel = context.WithCancel(ctx)
	return h
}

// ended is closed when it is time to stop.
func (h *house) ended() <-chan struct{} { return h.ctx.Done() }

// start runs a part. One that returns an error brings the house down; one that has
// done its work just leaves.
func (h *house) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.ctx))
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err != nil {
			h.cancel()
		}
		done <- err
	}()
	h.undo = append(h.undo, func() error {
		cancel()
		return <-done
	})
}

// onStop adds what is to be done when everything that starts later has ended.
func (h *house) onStop(f func()) {
	h.undo = append(h.undo, func() error { f(); return nil })
}

// stop ends the parts, newest first, and returns the first error of the one that
// failed first to be asked.
func (h *house) stop() error {
	h.cancel()
	var first error
	for i := len(h.undo) - 1; i >= 0; i-- {
		if err := h.undo[i](); err != nil && first == nil {
			first = err
		}
	}
	h.undo = nil
	return first
}
