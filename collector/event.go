package collector

import "flowtally/flow"

// Events of firewalls and translators go with the records of their datagram: into the
// same batch, under the same limits.

// repairEvents makes the times of a message's events possible.
func (p *process) repairEvents(r *receipt) {
	for i := range r.m.Events {
		e := &r.m.Events[i]
		if e.RepairTime() {
			r.repaired++
		}
		r.start, r.end = min(r.start, e.Time), max(r.end, e.Time)
	}
}

// keepEvents takes a message's events into the batch.
func (p *process) keepEvents(f *filler) {
	events := f.message.Events
	if len(events) == 0 {
		return
	}
	if f.events == nil {
		f.events = p.eventBatch()
	}
	f.events = append(f.events, events...)
	for i := range events {
		f.extras += len(events[i].Extra) + len(events[i].User)
	}
	p.metrics.events.Add(float64(len(events)))
}

// eventBatch returns memory for events, used memory when there is some.
func (p *process) eventBatch() []flow.Event {
	select {
	case b := <-p.freeEvents:
		return b[:0]
	default:
		return make([]flow.Event, 0, 1024)
	}
}

// recycleEvents gives the memory of a batch's events back.
func (p *process) recycleEvents(events []flow.Event) {
	if events == nil {
		return
	}
	clear(events) // so that no text is kept alive
	select {
	case p.freeEvents <- events:
	default:
	}
}
