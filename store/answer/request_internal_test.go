package answer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"flowtally/flow"
	"flowtally/query"
)

func TestQuestionsThatAreRefused(t *testing.T) {
	from := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	day := query.Question{From: from, To: from.Add(24 * time.Hour), Keys: []query.Key{query.KeyAddr}}
	for _, test := range []struct {
		name, parameter string
		series          bool
		change          func(*query.Question)
	}{
		{"range_backwards", "from", false, func(q *query.Question) { q.To = from.Add(-time.Hour) }},
		{"range_below_a_millisecond", "from", false, func(q *query.Question) { q.To = from.Add(time.Microsecond) }},
		{"before_1970", "from", false, func(q *query.Question) { q.From = time.Time{} }},
		{"far_future", "to", false, func(q *query.Question) { q.To = from.AddDate(1000, 0, 0) }},
		{"no_key", "key", false, func(q *query.Question) { q.Keys = nil }},
		{"unknown_key", "key", false, func(q *query.Question) { q.Keys = []query.Key{"colour"} }},
		{"unknown_measure", "by", false, func(q *query.Question) { q.By = "bits" }},
		{"negative_limit", "limit", false, func(q *query.Question) { q.Limit = -1 }},
		{"limit_too_large", "limit", false, func(q *query.Question) { q.Limit = query.MaxLimit + 1 }},
		{"too_many_lines", "limit", true, func(q *query.Question) { q.Limit = query.MaxLines + 1 }},
		{"negative_step", "step", true, func(q *query.Question) { q.Step = -time.Second }},
		{"step_below_a_millisecond", "step", true, func(q *query.Question) { q.Step = time.Microsecond }},
		{"too_many_buckets", "step", true, func(q *query.Question) { q.Step = time.Second }},
		{"too_many_buckets_wanted", "step", true, func(q *query.Question) { q.MaxBuckets = query.MaxBuckets + 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := day
			test.change(&q)
			// Refused before the database is asked, so there is none.
			var err error
			if test.series {
				_, err = New(nil).Series(context.Background(), q)
			} else {
				_, err = New(nil).Top(context.Background(), q)
			}
			if e, ok := errors.AsType[*query.Error](err); !ok || e.Parameter != test.parameter {
				t.Errorf("got %v, want an error about %s", err, test.parameter)
			}
		})
	}
}

func TestStepThatIsTooSmallNamesOneThatFits(t *testing.T) {
	_, err := request{from: 0, to: flow.Day}.inSlots(time.Second, 0, 0)
	if err == nil || !strings.Contains(err.Error(), "86400 buckets") || !strings.Contains(err.Error(), "take 1m or more") {
		t.Error(err)
	}
}

// The law: buckets tile the range, on multiples of the step; an automatic step
// makes no more of them than allowed, and the next smaller would.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := flow.Time(rapid.Int64Range(1, int64(200*365*flow.Day)).Draw(t, "from"))
		to := from + flow.Time(rapid.OneOf(
			rapid.Int64Range(1, int64(flow.Hour)),
			rapid.Int64Range(1, int64(400*flow.Day)),
			rapid.Int64Range(1, int64(20000*flow.Day))).Draw(t, "length"))
		limit := rapid.IntRange(2, query.MaxBuckets).Draw(t, "buckets")
		r, err := request{from: from, to: to, raw: true}.inSlots(0, 0, limit)
		if err != nil {
			t.Fatal(err)
		}
		c := r.slots
		n := int64(c.count())
		if n < 1 || n > int64(limit) {
			t.Errorf("%d buckets of %v", n, c.step)
		}
		if c.first > from || from >= c.first+c.step || c.last >= to || to > c.last+c.step {
			t.Errorf("buckets %v to %v of %v do not cover %v to %v", c.first, c.last, c.step, from, to)
		}
		if c.step%query.Week == 0 {
			if c.first.Time().Weekday() != time.Monday {
				t.Errorf("a week begins on %v", c.first.Time().Weekday())
			}
		} else if c.first%c.step != 0 {
			t.Errorf("%v is no multiple of %v", c.first, c.step)
		}
		for i, s := range query.Steps {
			if s == c.step && i > 0 {
				if _, _, m := query.Buckets(from, to, query.Steps[i-1]); m <= int64(limit) {
					t.Errorf("a step of %v would do", query.Steps[i-1])
				}
			}
		}
	})
}

// A group reads as people write it.
func TestLabels(t *testing.T) {
	for _, test := range []struct {
		name   string
		keys   []query.Key
		values []any
		want   string
	}{
		{"protocol_by_name", []query.Key{query.KeyProtocol}, []any{6}, "tcp"},
		{"protocol_without_name", []query.Key{query.KeyProtocol}, []any{250}, "250"},
		{"tcp_flags_in_letters", []query.Key{query.KeyTCPFlags}, []any{0x12}, "...A..S."},
		{"tcp_flags_above_the_letters", []query.Key{query.KeyTCPFlags}, []any{0x112}, "0x112"},
		{"autonomous_system", []query.Key{query.KeySrcAS}, []any{64500}, "AS64500"},
		{"tos_as_octet", []query.Key{query.KeyTOS}, []any{8}, "0x08"},
		{"icmp_has_no_port", []query.Key{query.KeyPort}, []any{nil}, "none"},
		{"from_source_to_destination", []query.Key{query.KeySrcAddr, query.KeyDstAddr}, []any{"10.0.0.1", "10.0.0.2"}, "10.0.0.1 → 10.0.0.2"},
		{"from_input_to_output", []query.Key{query.KeyInIf, query.KeyOutIf}, []any{1, nil}, "1 → none"},
		{"socket", []query.Key{query.KeyAddr, query.KeyPort}, []any{"10.0.0.1", 443}, "10.0.0.1:443"},
		{"ipv6_socket", []query.Key{query.KeyAddr, query.KeyPort}, []any{"2001:db8::1", 443}, "[2001:db8::1]:443"},
		{"socket_without_port", []query.Key{query.KeyAddr, query.KeyPort}, []any{"10.0.0.1", nil}, "10.0.0.1, none"},
		{"sockets", []query.Key{query.KeySrcAddr, query.KeySrcPort, query.KeyDstAddr, query.KeyDstPort}, []any{"10.0.0.1", 1024, "10.0.0.2", 80}, "10.0.0.1:1024 → 10.0.0.2:80"},
		{"port_of_the_other_side", []query.Key{query.KeySrcAddr, query.KeyDstPort}, []any{"10.0.0.1", 443}, "10.0.0.1 → 443"},
		{"end_reason_by_name", []query.Key{"end-reason"}, []any{1}, "idle timeout"},
		{"end_reason_without_name", []query.Key{"end-reason"}, []any{9}, "9"},
		{"direction_by_name", []query.Key{"direction"}, []any{1}, "egress"},
		{"mac_as_it_is", []query.Key{"src-mac", "dst-mac"}, []any{"02:00:00:00:00:01", nil}, "02:00:00:00:00:01 → none"},
		{"application", []query.Key{"application"}, []any{"dns"}, "dns"},
		{"application_without_a_name", []query.Key{"application"}, []any{""}, `""`},
		{"icmp_by_number", []query.Key{"icmp-type", "icmp-code"}, []any{3, 1}, "3, 1"},
		{"unrelated", []query.Key{query.KeyProtocol, query.KeyDstPort}, []any{17, 53}, "udp, 53"},
	} {
		t.Run(test.name, func(t *testing.T) {
			columns, err := query.Columns(test.keys)
			if err != nil {
				t.Fatal(err)
			}
			c := request{columns: columns}
			g, _ := c.newGroup()
			for i, v := range test.values {
				switch v := v.(type) {
				case int:
					n := int64(v)
					g.numbers[i] = &n
				case string:
					g.texts[i] = &v
				}
			}
			if _, got := c.values(g); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
