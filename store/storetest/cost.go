package storetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"flowtally/flow"
)

// Blast makes the flows of the load generator, rate of them a second from the
// given moment on: addresses as Zipf has it, random ports, a second long.
func Blast(from flow.Time, rate float64) func([]flow.Record) {
	rnd := rand.New(rand.NewPCG(3, 4))
	z := rand.NewZipf(rnd, 1.15, 100, 200_000)
	n := 0
	return func(recs []flow.Record) {
		for i := range recs {
			r := &recs[i]
			*r = flow.Record{}
			r.End = from + flow.Time(float64(n)*1000/rate)
			n++
			r.Start, r.Received = r.End-flow.Second, r.End
			r.IPVersion, r.Exporter = 4, 7
			var a, b [4]byte
			binary.BigEndian.PutUint32(a[:], 0x0a00_0000+uint32(z.Uint64()))
			binary.BigEndian.PutUint32(b[:], 0xc000_0000+7*uint32(z.Uint64()))
			r.SrcAddr, r.DstAddr = flow.Addr4(a), flow.Addr4(b)
			r.SrcPort, r.DstPort = uint16(1024+rnd.IntN(60000)), []uint16{443, 80, 53, 22}[rnd.IntN(4)]
			r.Protocol = []flow.Protocol{6, 6, 17}[rnd.IntN(3)]
			r.TCPFlags, r.InIf, r.OutIf = 0x1b, 1, 2
			r.Packets = uint64(1 + rnd.IntN(100))
			r.Bytes = r.Packets * uint64(60+rnd.IntN(1400))
		}
	}
}

// Cost adds up processor time, also where others are at work: of this process, or
// of a server and its processes.
type Cost struct {
	Sum, since time.Duration
	of         int
}

// Begin starts adding the time of a process and its children, of this process for 0.
func (c *Cost) Begin(pid int) { c.of, c.since = pid, cpu(pid) }

// End stops adding.
func (c *Cost) End() { c.Sum += cpu(c.of) - c.since }

// cpu is the processor time that a server and its processes, now and before, or,
// without a number, this process have taken; in hundredths of a second.
func cpu(pid int) (sum time.Duration) {
	of := func(name string, wanted func(parent string) bool, fields ...int) {
		text, err := os.ReadFile(name)
		_, rest, ok := strings.Cut(string(text), ") ")
		words := strings.Fields(rest)
		if err != nil || !ok || len(words) < 16 || !wanted(words[1]) {
			return
		}
		for _, i := range fields {
			n, _ := strconv.Atoi(words[i])
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	any := func(string) bool { return true }
	if pid == 0 {
		of("/proc/self/stat", any, 11, 12)
		return sum
	}
	of(fmt.Sprintf("/proc/%d/stat", pid), any, 11, 12, 13, 14)
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		of(name, func(parent string) bool { return parent == strconv.Itoa(pid) }, 11, 12)
	}
	return sum
}
