package exporter

import (
	"strings"
	"testing"

	"flowtally/exporter/meter"
)

// A cache beyond memory is a sentence that says what would do.
func TestCheckMemory(t *testing.T) {
	if err := checkMemory(meter.Config{MaxFlows: 1 << 12}, 1); err != nil {
		t.Error(err)
	}
	err := checkMemory(meter.Config{MaxFlows: meter.MaxFlows, Details: true}, 1<<20)
	if err == nil || !strings.Contains(err.Error(), "281474976710656 flows takes") || !strings.Contains(err.Error(), "want fewer") {
		t.Errorf("%v", err)
	}
}
