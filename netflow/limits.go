package netflow

import "flowtally/flow"

// Limits is what a Decoder lets strangers make it keep. A field that is zero
// or negative means its default.
//
// The worst case, whatever is sent, is counted from a fixed part for each
// template (1.5 KiB: entries in two maps, and the interpreter of what has no
// field in flow.Record), 30 octets of plan for each octet that the template has
// on the wire, the options of each domain (samplers with their names, rates of
// four times as many interfaces), and twice the octets that are held or named:
//
//	memory ≤ Templates × 1.5 KiB + TemplateOctets × 30 + Domains × 96 KiB
//	         + 2 × (HoldOctets + NameOctets) + Connections × 350
//
// which is 48 + 120 + 96 + 48 + 44 MiB = 356 MiB with the defaults; no exporter that
// exists comes near. What a datagram gives is the caller's to bound: at most
// MessageRecords records of its own and as many that were held, twice as many of
// biflows, and some 40 octets of extras for each of its own, besides the names
// that options gave, up to three of 128 a record. Extras are what costs most
// time: a third of a microsecond a field.
//
// When there is no more room for templates, those give way first that never
// decoded a record, then those that decoded none after the message they came
// with, then those that did but in fewer than 16 different seconds, the ones used
// longest ago. A template that is steadily in use stays, as long as any others are
// there or a steady one has not been used for ten minutes. An eighth of the room
// is left to newcomers that are not yet that far, so that those can prove
// themselves in a flood. Of equals, the address with most templates pays; and only
// its own when it has reached its own limits, so that nobody can push others out
// from one address. A new template costs about a microsecond however many there
// are, one that is known 70 ns.
//
// When there is no more room for held Sets, the address that holds most gives up
// its oldest.
type Limits struct {
	// Templates and TemplateOctets bound all templates together: their number
	// (default 32768) and their octets on the wire (default 4 MiB).
	Templates, TemplateOctets int
	// ExporterTemplates and ExporterOctets bound the templates that come from
	// one address, whatever its ports and domains (defaults 2048 and 256 KiB).
	ExporterTemplates, ExporterOctets int
	// TemplateFields bounds the fields of one template (default 512).
	TemplateFields int
	// Domains bounds the Observation Domains whose options (sampling, start-up
	// time) are remembered (default 1024), ExporterDomains those from one
	// address (default 64), and Selectors the samplers of one domain (default
	// 128; interfaces with a rate of their own: four times as many). What is
	// above is decoded, but not remembered.
	Domains, ExporterDomains, Selectors int
	// MessageRecords bounds the records of one datagram (default 8192). A
	// template of one octet would otherwise turn 64 KiB into 65,000 records.
	MessageRecords int
	// HoldOctets bounds the Data Sets that are held until their template comes
	// (default 16 MiB, each Set counted with its message's header and 192 octets
	// more), ExporterHoldOctets those from one address (default 256 KiB), and
	// HoldTime how long they wait (default ten minutes).
	HoldOctets, ExporterHoldOctets int
	HoldTime                       flow.Time
	// NameOctets bounds the names of applications and VRFs that options gave
	// (default 8 MiB, each counted with 96 octets more), ExporterNameOctets
	// those from one address (default 1 MiB). A name has at most 128.
	NameOctets, ExporterNameOctets int
	// Connections bounds the flows of which it is remembered what was told of them,
	// because a later record will tell their total (default 131072). A quarter of them
	// may come from one address. The one that was silent for longest gives way, and a
	// later total of such a flow is marked flow.MarkTotal.
	Connections int
	// Withdrawals says that Template Withdrawals are obeyed, as they must be
	// where messages cannot overtake each other (RFC 7011 §8.1): in the Decoder
	// of one TCP or TLS session.
	Withdrawals bool
}

// withDefaults returns l with every value set.
func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value *int
		def   int
	}{
		{&l.Templates, 32768},
		{&l.TemplateOctets, 4 << 20},
		{&l.ExporterTemplates, 2048},
		{&l.ExporterOctets, 256 << 10},
		{&l.TemplateFields, 512},
		{&l.Domains, 1024},
		{&l.ExporterDomains, 64},
		{&l.Selectors, 128},
		{&l.MessageRecords, 8192},
		{&l.HoldOctets, 16 << 20},
		{&l.ExporterHoldOctets, 256 << 10},
		{&l.NameOctets, 8 << 20},
		{&l.ExporterNameOctets, 1 << 20},
		{&l.Connections, 1 << 17},
	} {
		if *f.value <= 0 {
			*f.value = f.def
		}
	}
	if l.HoldTime <= 0 {
		l.HoldTime = 10 * flow.Minute
	}
	return l
}
