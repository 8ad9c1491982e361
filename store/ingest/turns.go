package ingest

import "sync"

// turns keeps the order of the Writes that are under way.
type turns struct {
	mu   sync.Mutex
	last chan struct{}
}

// take returns a channel that is closed when all earlier Writes are done, and a function
// that says that this one is.
func (t *turns) take() (before <-chan struct{}, done func()) {
	mine := make(chan struct{})
	t.mu.Lock()
	prev := t.last
	t.last = mine
	t.mu.Unlock()
	if prev == nil {
		prev = make(chan struct{})
		close(prev)
	}
	return prev, func() {
		select {
		case <-prev:
			close(mine)
		default: // done before earlier ones
			go func() {
				<-prev
				close(mine)
			}()
		}
	}
}
