package meter

import "testing"

// TestMemory: what docs/metering.md says a flow takes.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		config Config
		want   uint64
	}{
		{Config{}, 152 << 20},
		{Config{MaxFlows: 1 << 20, Details: true}, (152 + 88) << 20},
		{Config{MaxFlows: 1 << 10}, 152 << 10},
		{Config{MaxFlows: 1<<10 + 1}, 136*(1<<10+1) + 8*(1<<12)},
	} {
		if got := tt.config.Memory(); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.config, got, tt.want)
		}
	}
}
