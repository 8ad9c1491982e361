package exporter

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"flowtally/exporter/meter"
)

// checkMemory returns an error when the flow caches of so many meters, each of
// the given Config, are beyond the memory that there is: Go has no way to go on
// without memory that it asked for.
func checkMemory(c meter.Config, meters int) error {
	need := c.Memory() * uint64(meters)
	have := memory()
	if need <= have && obtainable(need) {
		return nil
	}
	least := uint64(meter.DefaultMaxFlows)
	per := max(1, need/uint64(max(1, c.MaxFlows*meters)))
	if have == math.MaxUint64 {
		return fmt.Errorf("a cache of %d flows takes %s of memory, which the system does not give: want fewer", c.MaxFlows*meters, inBytes(need))
	}
	return fmt.Errorf("a cache of %d flows takes %s of memory, and there is %s: want fewer, such as %d",
		c.MaxFlows*meters, inBytes(need), inBytes(have), max(1, min(least, have/per/2)))
}

// inBytes returns a number of bytes for people.
func inBytes(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// memory returns how many bytes this process may have at most: what the machine has,
// swap included, or less where the process or its control group is limited. Where
// nobody says, it is no limit.
func memory() uint64 {
	most := uint64(math.MaxUint64)
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		var sum uint64
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) >= 2 && (fields[0] == "MemTotal:" || fields[0] == "SwapTotal:") {
				if n, err := strconv.ParseUint(fields[1], 10, 40); err == nil {
					sum += n << 10
				}
			}
		}
		if sum > 0 {
			most = sum
		}
	}
	for _, limit := range controlGroups() {
		most = min(most, limit)
	}
	var r unix.Rlimit
	for _, resource := range memoryLimits {
		if unix.Getrlimit(resource, &r) == nil {
			most = min(most, uint64(r.Cur))
		}
	}
	return most
}

// controlGroups returns the limits of the control group that this process is in, and
// of those around it.
func controlGroups() (limits []uint64) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if parts[0] != "0" {
			if !strings.Contains(parts[1], "memory") {
				continue
			}
			root, file = root+"/memory", "memory.limit_in_bytes"
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if b, err := os.ReadFile(path.Join(root, dir, file)); err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
					limits = append(limits, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

// obtainable reports whether the system gives so much memory at once, by asking for
// it and giving it back untouched.
func obtainable(n uint64) bool {
	if n > math.MaxInt {
		return false
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	_ = unix.Munmap(b)
	return true
}
