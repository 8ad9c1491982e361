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

// FindExporters returns the identifiers of the exporters with a name, an address or an
// identifier. A name takes precedence over an address that reads the same, and an address
// over an identifier. Several exporters can share an address, one for each
// observation domain. The error may be an *ExporterError.
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
select id, label, case when name = $1 then 1 when host(addr) = $2 then 2 when id::text = $1 then 3 end as how
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
