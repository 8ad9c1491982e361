package spelling

import "testing"

// What is near comes first, and what resembles nothing has no neighbour.
func TestNear(t *testing.T) {
	words := []string{"exporter", "exporters", "collector", "web", "top", "flows", "events"}
	for said, want := range map[string]string{
		"expoter": "exporter", "exporer": "exporter", "colector": "collector", "flwos": "flows", "TOP": "top", "event": "events", "expo": "exporter",
	} {
		if near := Near(said, words); len(near) == 0 || near[0] != want {
			t.Errorf("%q is near %q, want %q", said, near, want)
		}
	}
	for _, said := range []string{"", "x", "dashboard", "zzzzzz"} {
		if near := Near(said, words); len(near) > 0 {
			t.Errorf("%q is near %q", said, near)
		}
		if Hint(said, words) != "" {
			t.Errorf("%q has a hint", said)
		}
	}
	if got := Hint("expoter", words); got != "; did you mean exporter?" {
		t.Errorf("the hint is %q", got)
	}
}
