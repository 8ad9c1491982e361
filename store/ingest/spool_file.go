package ingest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"flowtally/flow"
	"flowtally/store/row"
)

// A file of the spool is a prefix of fixed length, a header in JSON and the rows, as COPY
// takes them. It is written under another name, synced and renamed, and the directory
// synced: it exists whole or not at all. Afterwards only the batch's identifier changes, in
// place: it is leased when the batch is first sent, and whoever sends the batch again has
// to know it.
const (
	spoolMagic   = "FLWBATCH"
	spoolVersion = 1
	// spoolVersionEvents is that of files that have events.
	spoolVersionEvents = 2
	// spoolPrefix is the prefix's length: magic, version, length of the header, CRC-32C
	// of the four fields around it and the header, CRC-32C of the rows, length of the
	// rows, identifier, CRC-32C of the identifier and the key.
	spoolPrefix = 8 + 4 + 4 + 4 + 4 + 8 + 4 + 4
	// spoolID is the offset of the identifier and its CRC.
	spoolID = spoolPrefix - 8
	// maxSpoolHeader and maxSpoolFile bound what is read from a file whose
	// lengths may be wrong.
	maxSpoolHeader = 64 << 20
	maxSpoolFile   = 2 << 30
)

// errCorrupt: a file is not as it was written.
var errCorrupt = errors.New("not what was written")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spoolHeader is what a file says beside the rows.
type spoolHeader struct {
	Key          int64           `json:"key"`
	Records      int             `json:"records"`
	Clamped      int             `json:"clamped,omitempty"`
	Repaired     int             `json:"repaired,omitempty"`
	NoRoom       int             `json:"no_room,omitempty"`
	Packets      uint64          `json:"packets"`
	Bytes        uint64          `json:"bytes"`
	ReceivedFrom flow.Time       `json:"received_from"`
	ReceivedTo   flow.Time       `json:"received_to"`
	MinEnd       flow.Time       `json:"min_end"`
	MaxEnd       flow.Time       `json:"max_end"`
	Columns      []string        `json:"columns"`
	Parts        []spoolPart     `json:"parts"`
	Sequences    []spoolSequence `json:"sequences,omitempty"`
	// Past says that the rows are of hours that are past and had no partition.
	Past   bool         `json:"past,omitempty"`
	Loss   []flow.Loss  `json:"loss,omitempty"`
	Events *spoolEvents `json:"events,omitempty"`
	// Exporters counts the records by exporter. Rows is the batch identifier in the rows.
	Exporters map[flow.ExporterID]uint64 `json:"exporters,omitempty"`
	Rows      int32                      `json:"rows_id,omitempty"`
	// Reason is why a batch is in quarantine.
	Reason string `json:"reason,omitempty"`
}

// spoolPart describes the rows of one hour.
type spoolPart struct {
	Hour     flow.Time `json:"hour"`
	MinStart flow.Time `json:"min_start"`
	Rows     int64     `json:"rows"`
	Bytes    int       `json:"octets"`
}

// spoolSequence is a flow.Sequence as the header has it.
type spoolSequence struct {
	Addr    flow.Addr   `json:"addr"`
	Domain  uint32      `json:"domain"`
	Port    uint16      `json:"port"`
	Version uint16      `json:"version"`
	Next    uint32      `json:"next"`
	At      flow.Time   `json:"at"`
	From    uint32      `json:"from"`
	Holes   []flow.Hole `json:"holes,omitempty"`
	Epoch   int64       `json:"epoch,omitempty"`
	Base    uint32      `json:"base,omitempty"`
	Blind   bool        `json:"blind,omitempty"`

	Numbering flow.Numbering `json:"numbering,omitempty"`
	Rate      uint32         `json:"rate,omitempty"`
	Member    bool           `json:"member,omitempty"`
}

// write writes a file so that it exists whole or not at all.
func (s *spool) write(path string, h *spoolHeader, b *batch) (err error) {
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	header = append(header, '\n')
	var (
		prefix [spoolPrefix]byte
		crc    uint32
		length uint64
	)
	for _, p := range b.parts {
		crc = crc32.Update(crc, castagnoli, p.body())
		length += uint64(len(p.body()))
	}
	for _, p := range b.eventParts {
		crc = crc32.Update(crc, castagnoli, p.body())
		length += uint64(len(p.body()))
	}
	copy(prefix[:], spoolMagic)
	binary.BigEndian.PutUint32(prefix[8:], spoolVersionOf(b))
	binary.BigEndian.PutUint32(prefix[12:], uint32(len(header)))
	binary.BigEndian.PutUint32(prefix[20:], crc)
	binary.BigEndian.PutUint64(prefix[24:], length)
	putSpoolID(prefix[spoolID:], b.id, b.key)
	binary.BigEndian.PutUint32(prefix[16:], headerCRC(prefix[:], header))

	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "new-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(append(prefix[:], header...)); err != nil {
		return err
	}
	for _, p := range b.parts {
		if _, err = f.Write(p.body()); err != nil {
			return err
		}
	}
	for _, p := range b.eventParts {
		if _, err = f.Write(p.body()); err != nil {
			return err
		}
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot, and need not
		return err
	}
	return nil
}

// headerCRC returns the checksum of a header and of the prefix but for the identifier.
func headerCRC(prefix, header []byte) uint32 {
	crc := crc32.Checksum(prefix[:16], castagnoli)
	crc = crc32.Update(crc, castagnoli, prefix[20:32])
	return crc32.Update(crc, castagnoli, header)
}

// putSpoolID writes the identifier and its CRC.
func putSpoolID(slot []byte, id int32, key int64) {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(id))
	binary.BigEndian.PutUint64(b[4:], uint64(key))
	binary.BigEndian.PutUint32(slot, uint32(id))
	binary.BigEndian.PutUint32(slot[4:], crc32.Checksum(b[:], castagnoli))
}

// header returns the header of the batch's file.
func (b *batch) header() (*spoolHeader, error) {
	counts, err := b.exporters()
	if err != nil {
		return nil, err
	}
	events, err := b.eventHeader()
	if err != nil {
		return nil, err
	}
	h := &spoolHeader{
		Events: events, Key: b.key, Records: b.records, Clamped: b.clamped, Repaired: b.repaired, NoRoom: b.noRoom, Packets: b.packets, Bytes: b.bytes,
		ReceivedFrom: b.receivedFrom, ReceivedTo: b.receivedTo, MinEnd: b.minEnd, MaxEnd: b.maxEnd,
		Columns: b.columns.Names(), Past: b.past, Loss: slices.Clone(b.loss), Exporters: counts, Rows: b.id,
	}
	for _, p := range b.parts {
		h.Parts = append(h.Parts, spoolPart{Hour: p.hour, MinStart: p.minStart, Rows: p.rows, Bytes: len(p.body())})
	}
	for _, q := range b.sequences {
		h.Sequences = append(h.Sequences, spoolSequence{Addr: q.Addr, Domain: q.Domain, Port: q.Port, Version: q.Version, Next: q.Next, At: q.At,
			From: q.From, Holes: q.Holes, Epoch: q.Epoch, Base: q.Base, Blind: q.Blind,
			Numbering: q.Numbering, Rate: q.Rate, Member: q.Member})
	}
	return h, nil
}

// sequences returns the sequence numbers that the header has.
func (h *spoolHeader) sequences() (all []flow.Sequence) {
	for _, q := range h.Sequences {
		all = append(all, flow.Sequence{Exporter: flow.Exporter{Addr: q.Addr, Domain: q.Domain}, Port: q.Port, Version: q.Version, Next: q.Next, At: q.At,
			From: q.From, Holes: q.Holes, Epoch: q.Epoch, Base: q.Base, Blind: q.Blind,
			Numbering: q.Numbering, Rate: q.Rate, Member: q.Member})
	}
	return all
}

// readSpoolHeader reads the header of a file.
func readSpoolHeader(path string) (*spoolHeader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, h, err := readSpoolStart(f)
	return h, err
}

// readSpoolStart reads and checks prefix and header.
func readSpoolStart(r io.Reader) (prefix [spoolPrefix]byte, h *spoolHeader, err error) {
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return prefix, nil, fmt.Errorf("prefix: %w: %w", errCorrupt, err)
	}
	if string(prefix[:8]) != spoolMagic {
		return prefix, nil, fmt.Errorf("prefix: %w", errCorrupt)
	}
	if v := binary.BigEndian.Uint32(prefix[8:]); v != spoolVersion && v != spoolVersionEvents {
		return prefix, nil, fmt.Errorf("version %d: %w", v, errCorrupt)
	}
	length := int64(binary.BigEndian.Uint32(prefix[12:]))
	if length > maxSpoolHeader || binary.BigEndian.Uint64(prefix[24:]) > maxSpoolFile {
		return prefix, nil, fmt.Errorf("lengths: %w", errCorrupt)
	}
	// A wrong length allocates no more memory than the file has bytes.
	var header bytes.Buffer
	if n, err := io.CopyN(&header, r, length); err != nil {
		return prefix, nil, fmt.Errorf("header: %d of %d bytes: %w: %w", n, length, errCorrupt, err)
	}
	if headerCRC(prefix[:], header.Bytes()) != binary.BigEndian.Uint32(prefix[16:]) {
		return prefix, nil, fmt.Errorf("header: checksum: %w", errCorrupt)
	}
	h = new(spoolHeader)
	if err := json.Unmarshal(header.Bytes(), h); err != nil {
		return prefix, nil, fmt.Errorf("header: %w: %w", errCorrupt, err)
	}
	return prefix, h, nil
}

// readSpool reads a file into b. With an error, b holds nothing of use.
func readSpool(r io.Reader, b *batch) error {
	b.reset()
	prefix, h, err := readSpoolStart(r)
	if err != nil {
		return err
	}
	c, ok := row.ParseColumns(h.Columns)
	if !ok {
		return fmt.Errorf("columns: %w", errCorrupt)
	}
	b.setColumns(c)
	var (
		crc    uint32
		length uint64
		rows   int64
		last   = flow.Time(math.MinInt64)
	)
	for _, sp := range h.Parts {
		if sp.Bytes < 0 || sp.Bytes > maxSpoolFile || sp.Rows <= 0 || sp.Hour <= last || sp.Hour%flow.Hour != 0 {
			return fmt.Errorf("parts: %w", errCorrupt)
		}
		last = sp.Hour
		p := b.part(sp.Hour)
		p.minStart, p.rows = sp.MinStart, sp.Rows
		for at := len(p.buf); at < len(row.CopyHeader)+sp.Bytes; at = len(p.buf) {
			n := min(len(row.CopyHeader)+sp.Bytes-at, 1<<20)
			p.buf = slices.Grow(p.buf, n)[:at+n]
			if _, err := io.ReadFull(r, p.buf[at:]); err != nil {
				return fmt.Errorf("rows: %w: %w", errCorrupt, err)
			}
		}
		crc = crc32.Update(crc, castagnoli, p.buf[len(row.CopyHeader):])
		length += uint64(sp.Bytes)
		rows += sp.Rows
		p.buf = append(p.buf, row.CopyTrailer...)
	}
	if crc, length, err = readSpoolEvents(r, h.Events, b, crc, length); err != nil {
		return err
	}
	if length != binary.BigEndian.Uint64(prefix[24:]) || crc != binary.BigEndian.Uint32(prefix[20:]) {
		return fmt.Errorf("rows: checksum: %w", errCorrupt)
	}
	if rows != int64(h.Records) {
		return fmt.Errorf("rows: %w", errCorrupt)
	}
	b.key, b.records, b.clamped, b.repaired, b.noRoom = h.Key, h.Records, h.Clamped, h.Repaired, h.NoRoom
	b.packets, b.bytes, b.past = h.Packets, h.Bytes, h.Past
	b.receivedFrom, b.receivedTo, b.minEnd, b.maxEnd = h.ReceivedFrom, h.ReceivedTo, h.MinEnd, h.MaxEnd
	b.loss = append(b.loss, h.Loss...)
	b.sequences = append(b.sequences, h.sequences()...)
	for _, p := range b.parts {
		rows, ok := row.Narrow(p.body(), p.rows, c)
		if !ok {
			return fmt.Errorf("rows: %w", errCorrupt)
		}
		if len(rows) != len(p.body()) {
			p.setBody(rows)
		}
		if err := p.each(c, func([]byte) {}); err != nil {
			return fmt.Errorf("rows: %w: %w", errCorrupt, err)
		}
	}
	// An identifier whose CRC is wrong was being written during a crash. Nothing was sent
	// under it.
	var slot [8]byte
	id := int32(binary.BigEndian.Uint32(prefix[spoolID:]))
	putSpoolID(slot[:], id, h.Key)
	if !bytes.Equal(slot[:], prefix[spoolID:]) {
		id = 0
	}
	if id != h.Rows {
		return b.setID(id)
	}
	b.id = id
	return nil
}
