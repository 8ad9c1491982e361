package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// ExporterError says why a text names no exporter.
type ExporterError struct{ Reason string }

// Error returns the reason.
func (e *ExporterError) Error() string { return e.Reason }

// FindExporters returns the identifiers of the exporters with a label, an address or an
// identifier. A label, which is one exporter's alone, takes precedence over an address, and
// an address over an identifier. Several exporters can share an address, one for each
// observation domain: the address then means all of them, and is none's label. The error may
// be an *ExporterError.
func FindExporters(ctx context.Context, tx pgx.Tx, word string) ([]int32, error) {
	word = strings.TrimSpace(word)
	if !utf8.ValidString(word) || strings.ContainsRune(word, 0) {
		return nil, &ExporterError{fmt.Sprintf("%q is no text that a name could be", word)}
	}
	addr := word
	if a, err := netip.ParseAddr(word); err == nil {
		addr = a.Unmap().String()
	}
	rows, err := tx.Query(ctx, `
select id, label, case when label = $1 then 1 when host(addr) = $2 then 2 when id::text = $1 then 3 end as how
from exporters
order by label, id`, word, addr)
	if err != nil {
		return nil, fmt.Errorf("find exporter: %w", err)
	}
	defer rows.Close()
	var (
		found [4][]int32
		known []string
	)
	for rows.Next() {
		var (
			id    int32
			label string
			how   *int
		)
		if err := rows.Scan(&id, &label, &how); err != nil {
			return nil, fmt.Errorf("find exporter: %w", err)
		}
		if how != nil {
			found[*how] = append(found[*how], id)
		}
		if !slices.Contains(known, label) {
			known = append(known, label)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find exporter: %w", err)
	}
	for _, ids := range found {
		if len(ids) > 0 {
			return ids, nil
		}
	}
	reason := fmt.Sprintf("there is no exporter %q", word)
	const shown = 8
	switch {
	case len(known) == 0:
		reason += ": none has been seen yet"
	case len(known) > shown:
		reason += fmt.Sprintf(": known are %s and %d more", strings.Join(known[:shown], ", "), len(known)-shown)
	default:
		reason += ": known are " + strings.Join(known, ", ")
	}
	return nil, &ExporterError{reason}
}

// labelLock is the advisory lock of whoever changes what exporters are called.
const labelLock = 0x666c6f776e616d65

// LockLabels has a transaction be the only one that changes what exporters are called,
// until it ends: two that did so at once would not see that they call two the same.
func LockLabels(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(labelLock))
	return err
}
