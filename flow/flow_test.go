package flow

import (
	"math"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

func TestKeyHasNoGaps(t *testing.T) {
	// Hashing a key as bytes is only sound when no byte of it is padding.
	want := unsafe.Sizeof(Key{})
	if got := uintptr(16 + 16 + 4 + 4 + 2 + 2 + 2 + 1 + 1 + 1 + 3); got != want {
		t.Fatalf("fields of Key sum to %d bytes, its size is %d", got, want)
	}
}

func TestAddr(t *testing.T) {
	for _, s := range []string{"192.0.2.1", "2001:db8::1", "0.0.0.0", "255.255.255.255", "fe80::1"} {
		a := AddrFrom(netip.MustParseAddr(s))
		if a.String() != s {
			t.Errorf("AddrFrom(%s) prints %s", s, a)
		}
		if a.Is4() != netip.MustParseAddr(s).Is4() {
			t.Errorf("%s: Is4 is %v", s, a.Is4())
		}
	}
	if Addr4([4]byte{10, 1, 2, 3}) != AddrFrom(netip.MustParseAddr("10.1.2.3")) {
		t.Error("Addr4 and AddrFrom disagree")
	}
	if !AddrFrom(netip.Addr{}).IsZero() || (Addr{}).String() != "" {
		t.Error("the invalid address is not the zero Addr")
	}
	if got := AddrFrom(netip.MustParseAddr("fe80::1%eth0")).String(); got != "fe80::1" {
		t.Errorf("a zone survived: %s", got)
	}
}

func TestTimeOf(t *testing.T) {
	for _, x := range []time.Time{time.Unix(0, 0), time.Unix(1700000000, 999_999_999), time.Unix(-1, 1_000_000), time.Unix(2164247948, 451127000)} {
		if got, want := TimeOf(x), Time(x.UnixMilli()); got != want {
			t.Errorf("TimeOf(%v) = %d, want %d", x, got, want)
		}
	}
	if (Time(-1)).Floor(10) != -10 || Time(19).Floor(10) != 10 || Time(20).Floor(10) != 20 {
		t.Error("Floor does not round towards the past")
	}
}

// TestShareAddsUp: however a range is cut, the parts sum to the whole.
func TestShareAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Uint64Max(math.MaxInt64).Draw(t, "value")
		start := Time(rapid.Int64Range(0, 4e12).Draw(t, "start"))
		end := start + Time(rapid.Int64Range(0, int64(MaxDuration)).Draw(t, "duration"))
		cuts := rapid.SliceOfN(rapid.Int64Range(int64(start)-10, int64(end)+10), 0, 8).Draw(t, "cuts")
		from := start - 11
		var sum uint64
		rest := append([]int64{}, cuts...)
		for from < end+11 {
			to := end + 11
			for _, c := range rest {
				if Time(c) > from && Time(c) < to {
					to = Time(c)
				}
			}
			part := Share(value, start, end, from, to)
			if part > value {
				t.Fatalf("share %d of %d", part, value)
			}
			sum += part
			from = to
		}
		if sum != value {
			t.Fatalf("the shares of adjoining ranges sum to %d, not %d", sum, value)
		}
	})
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name       string
		value      uint64
		start, end Time
		from, to   Time
		want       uint64
	}{
		{"all_inside", 10, 100, 200, 0, 300, 10},
		{"all_before", 10, 100, 200, 300, 400, 0},
		{"first_half", 10, 100, 200, 0, 150, 5},
		{"second_half_of_odd", 11, 100, 200, 150, 300, 6},
		{"instant_at_from", 7, 100, 100, 100, 101, 7},
		{"instant_at_to", 7, 100, 100, 99, 100, 0},
		{"ends_at_from", 7, 50, 100, 100, 200, 0},
		{"largest_value_longest_flow", math.MaxInt64, 0, MaxDuration, 0, MaxDuration - 1, math.MaxInt64 - math.MaxInt64/uint64(MaxDuration) - 1},
	} {
		if got := Share(tt.value, tt.start, tt.end, tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestRepairTime(t *testing.T) {
	const now = Time(1_700_000_000_000)
	for _, tt := range []struct {
		name       string
		start, end Time
		wantStart  Time
		wantEnd    Time
		repaired   bool
	}{
		{"ordinary", now - 5000, now - 1000, now - 5000, now - 1000, false},
		{"old_capture", 1_000_000_000_000, 1_000_000_060_000, 1_000_000_000_000, 1_000_000_060_000, false},
		{"clock_of_1970_keeps_its_length", 1_000_000_000, 1_000_060_000, now - 60_000, now, true},
		{"start_of_1970", 5000, now - 1, now - 1, now - 1, true},
		{"end_of_1970", now - 9, 5000, now - 9, now - 9, true},
		{"first_that_is_believed", MinTime, MinTime, MinTime, MinTime, false},
		{"a_little_ahead", now, now + MaxAhead, now, now + MaxAhead, false},
		{"both_missing", 0, 0, now, now, true},
		{"start_missing", 0, now - 1, now - 1, now - 1, true},
		{"end_missing", now - 9, 0, now - 9, now - 9, true},
		{"end_before_start", now - 1000, now - 5000, now - 5000, now - 5000, true},
		{"far_ahead_keeps_its_length", now + Day, now + Day + 1000, now - 1000, now, true},
		{"too_long_keeps_its_end", now - 40*Day, now, now - MaxDuration, now, true},
		{"longest", now - MaxDuration, now, now - MaxDuration, now, false},
		{"negative", -5, -3, now, now, true},
	} {
		r := Record{Start: tt.start, End: tt.end, Received: now}
		if got := r.RepairTime(); got != tt.repaired || r.Start != tt.wantStart || r.End != tt.wantEnd || (r.Marks&MarkTimeRepaired != 0) != tt.repaired {
			t.Errorf("%s: %v [%d, %d] marks %d", tt.name, got, r.Start, r.End, r.Marks)
		}
		if r.RepairTime() {
			t.Errorf("%s: repairing twice changes the times again", tt.name)
		}
	}
}

// TestRepairTimeLaw: whatever was sent, what is left is possible.
func TestRepairTimeLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{
			Start:    Time(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "start")),
			End:      Time(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "end")),
			Received: Time(rapid.Int64Range(1, 1<<45).Draw(t, "received")),
		}
		r.RepairTime()
		if r.Start > r.End || r.End-r.Start > MaxDuration || r.End > r.Received+MaxAhead || r.End <= 0 {
			t.Fatalf("[%d, %d] received %d", r.Start, r.End, r.Received)
		}
		if r.RepairTime() {
			t.Fatal("repairing twice changes the times again")
		}
	})
}

func TestExporterID(t *testing.T) {
	seen := map[ExporterID]Exporter{}
	for i := range 2000 {
		e := Exporter{Addr: Addr4([4]byte{10, 0, byte(i >> 8), byte(i)}), Domain: uint32(i % 3)}
		id := e.ID()
		if id <= 0 {
			t.Fatalf("%v has identifier %d", e, id)
		}
		if o, ok := seen[id]; ok {
			t.Fatalf("%v and %v share identifier %d", e, o, id)
		}
		seen[id] = e
	}
	// The identifier is stored: it may never change.
	e := Exporter{Addr: AddrFrom(netip.MustParseAddr("192.0.2.1")), Domain: 42}
	if got, want := e.ID(), ExporterID(goldenID); got != want {
		t.Errorf("identifier of 192.0.2.1 domain 42 is %d, was %d in every release", got, want)
	}
}

const goldenID = 2117879827

func TestTCPFlagsString(t *testing.T) {
	if got := (SYN | ACK).String(); got != "...A..S." {
		t.Errorf("SYN+ACK prints %q", got)
	}
	if got := TCPFlags(0xff).String(); got != "CEUAPRSF" {
		t.Errorf("all flags print %q", got)
	}
}

// What exporters without a name are asked for by is no name, not even with a domain behind
// it, so that nobody is taken for another.
func TestNamesThatAreTakenForOthers(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "", " 2001:db8::1 ": "", "192.0.2.1 domain 42": "", "::ffff:192.0.2.1 domain 0": "", "42": "",
		"edge": "edge", "edge domain 1": "edge domain 1", "192.0.2.1 domain x": "192.0.2.1 domain x", "domain 1": "domain 1", "router 192.0.2.1": "router 192.0.2.1",
	} {
		if got := Name(text); got != want {
			t.Errorf("%q is the name %q, want %q", text, got, want)
		}
	}
}
