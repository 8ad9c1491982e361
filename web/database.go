package web

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/console"
)

// Database is what the API asks, one interface for each concern; all must be set. Every
// method honours its context and may be called by many at once.
type Database struct {
	AnswerStore
	ExporterStore
	ViewStore
	SQLStore
	TokenStore
}

// NewDatabase returns the Database that a store is.
func NewDatabase(db *store.DB) Database {
	c := console.New(db)
	return Database{AnswerStore: answer.New(db), ExporterStore: c, ViewStore: c, SQLStore: c, TokenStore: c}
}

// AnswerStore answers questions about flows; *answer.Answerer is one.
type AnswerStore interface {
	// Top returns the groups with most of a measure.
	Top(ctx context.Context, q query.Question) (*query.Top, error)
	// Series returns the same sums over time, in at most q.MaxBuckets buckets.
	Series(ctx context.Context, q query.Question) (*query.Series, error)
	// Flows returns a page of the flows themselves.
	Flows(ctx context.Context, q query.FlowsQuestion) (*query.Flows, error)
	// Events returns a page of what firewalls and translators did.
	Events(ctx context.Context, q query.EventsQuestion) (*query.Events, error)
	// Share returns the busiest host's part of all flows, over time.
	Share(ctx context.Context, q query.Question) (*query.Share, error)
	// Summary returns totals and rates by class of protocol.
	Summary(ctx context.Context, q query.Question) (*query.Summary, error)
	// HeatMap returns the traffic of each hour of each day.
	HeatMap(ctx context.Context, q query.Question) (*query.HeatMap, error)
	// Address returns what there is to know of an address.
	Address(ctx context.Context, addr netip.Addr, q query.Question) (*query.AddressCard, error)
	// InterfaceTraffic returns what went by each interface.
	InterfaceTraffic(ctx context.Context, q query.Question) ([]query.InterfaceSums, error)
}

// ExporterStore knows the exporters, their interfaces and what was lost;
// *console.Console is one.
type ExporterStore interface {
	// Exporters returns every exporter seen so far, ExporterStates what is known
	// of them besides, Diagnosis why nothing is seen of one.
	Exporters(ctx context.Context) ([]console.ExporterRow, error)
	ExporterStates(ctx context.Context) (map[flow.ExporterID]console.ExporterState, error)
	Diagnosis(ctx context.Context, id flow.ExporterID) (*console.Diagnosis, error)
	Interfaces(ctx context.Context, exporter string) ([]console.Interface, error)
	// Loss returns the ledger.
	Loss(ctx context.Context, from, to time.Time, exporter string) (*console.Losses, error)
	// SetExporter and NameInterface keep what people say about them.
	SetExporter(ctx context.Context, id flow.ExporterID, w console.ExporterWords) error
	// ForgetExporter deletes what is known of an exporter, LeaveOut leaves its losses out of
	// the totals of all, and LeftOut says of which they are.
	ForgetExporter(ctx context.Context, id flow.ExporterID) error
	LeaveOut(ctx context.Context, id flow.ExporterID, out bool) error
	LeftOut(ctx context.Context) (map[flow.ExporterID]bool, error)
	NameInterface(ctx context.Context, id flow.ExporterID, index int64, name string) error
}

// ViewStore keeps views and preferences; *console.Console is one.
type ViewStore interface {
	Views(ctx context.Context) ([]console.View, error)
	SaveView(ctx context.Context, v console.View) (*console.View, error)
	DeleteView(ctx context.Context, id int64) error
	Preferences(ctx context.Context, user string) (console.Preferences, error)
	SetPreferences(ctx context.Context, user string, p console.Preferences) error
}

// SQLStore runs SQL that people write; *console.Console is one.
type SQLStore interface {
	// RunSQL runs a statement, and Schema says what it may ask.
	RunSQL(ctx context.Context, q console.SQLQuestion) (*console.SQLAnswer, error)
	Schema(ctx context.Context) ([]console.SchemaTable, error)
}

// TokenStore keeps the tokens of scripts; *console.Console is one.
type TokenStore interface {
	// Tokens lists those of a user, TokenOf finds one by the hash of its secret, and
	// TokenSecrets returns the hashes of all.
	Tokens(ctx context.Context, user string) ([]console.Token, error)
	TokenOf(ctx context.Context, secret [sha256.Size]byte) (*console.Token, error)
	TokenSecrets(ctx context.Context) (map[[sha256.Size]byte]bool, error)
	NewToken(ctx context.Context, t console.Token) (*console.Token, error)
	UseToken(ctx context.Context, id int64, at time.Time) error
	DeleteToken(ctx context.Context, user string, id int64) error
}
