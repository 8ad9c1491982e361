package ingest

import (
	"fmt"
	"path/filepath"
)

// quarantineShare is the fraction of the spool's bytes that refused rows may take: one
// part in so many.
const quarantineShare = 8

// quarantine writes rows that the database refuses to a file. It reports whether there was
// room for them.
func (s *spool) quarantine(b *batch, reason error) (bool, error) {
	h, err := b.header()
	if err != nil {
		return false, err
	}
	h.Reason = reason.Error()
	size := int64(spoolPrefix)
	for _, p := range b.parts {
		size += int64(len(p.buf))
	}
	s.mu.Lock()
	room := s.quarantined+diskSize(size) <= s.limit/quarantineShare
	if room {
		s.quarantined += diskSize(size)
	}
	s.mu.Unlock()
	if !room {
		return false, nil
	}
	// The name follows from the batch: a second attempt writes the same file.
	name := fmt.Sprintf("%013d-%016x%s", b.receivedFrom, uint64(b.key), batchSuffix)
	if err := s.write(filepath.Join(s.dir, "quarantine", name), h, b); err != nil {
		if noSpace(err) {
			return false, nil
		}
		return false, fmt.Errorf("quarantine: %w", err)
	}
	return true, nil
}
