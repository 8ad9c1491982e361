package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
)

// A client that somebody generates from the document builds, and has the numbers that were
// stored, to the last digit: with a token, from a server that listens.
func TestGeneratedClient(t *testing.T) {
	program := buildClient(t)
	dsn := pgtest.New(t)
	ctx := t.Context()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const large = 1<<53 + 1 // what JavaScript rounds
	start := time.Now().Add(-30 * time.Minute).Truncate(time.Second)
	var records []flow.Record
	for i := range uint64(5) {
		var r flow.Record
		r.IPVersion, r.Protocol, r.SrcPort, r.DstPort = 4, 6, 40000, 443
		r.SrcAddr, r.DstAddr = flow.AddrFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})), flow.AddrFrom(netip.MustParseAddr("10.9.9.9"))
		r.Start, r.End, r.Received = flow.TimeOf(start), flow.TimeOf(start), flow.TimeOf(start)
		r.Exporter, r.Packets, r.Bytes = 1, i+1, large-i
		records = append(records, r)
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: records}); err != nil {
		t.Fatal(err)
	}
	users, err := LoadUsers(usersFile(t))
	if err != nil {
		t.Fatal(err)
	}
	made, secret, err := users.NewToken("vera", "client", RoleViewer, 1, time.Now())
	if err == nil {
		_, err = console.New(db).NewToken(ctx, made)
	}
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ready, ended := make(chan netip.AddrPort, 1), make(chan error, 1)
	go func() {
		ended <- Run(serving, Config{Listen: "127.0.0.1:0", DB: NewDatabase(db), Users: users, NoDNS: true, Ready: func(a netip.AddrPort) { ready <- a }})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	cmd := exec.CommandContext(ctx, program, "http://"+(<-ready).String())
	cmd.Env = append(os.Environ(), "FLOWTALLY_TOKEN="+secret)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	var got struct {
		Unauthorized, TooMuch                                   string
		TopBytes, TopTotal, SeriesFlows, SeriesBytes, FlowBytes []int64
		TopAddresses, FlowSources                               []string
		Buckets, Pages                                          int
		SQL                                                     []any
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	bytesOf, addresses := []int64{large, large - 1, large - 2, large - 3, large - 4}, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}
	sum := func(list []int64) (n int64) {
		for _, v := range list {
			n += v
		}
		return n
	}
	for what, pair := range map[string][2]any{
		"top's bytes":     {got.TopBytes, bytesOf},
		"top's addresses": {got.TopAddresses, addresses},
		"top's total":     {got.TopTotal, []int64{5, 15, sum(bytesOf)}},
		"series":          {[]int64{sum(got.SeriesFlows), sum(got.SeriesBytes)}, []int64{5, sum(bytesOf)}},
		"series' buckets": {len(got.SeriesFlows), got.Buckets},
		"flows' bytes":    {got.FlowBytes, bytesOf},
		"flows' sources":  {got.FlowSources, addresses},
		"pages":           {got.Pages, 3},
		"SQL":             {got.SQL, []any{fmt.Sprint(large), 5.0}},
		"nobody":          {got.Unauthorized, "Log in first."},
		"too much":        {got.TooMuch, "Parameter limit: expected number <= 10000."},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
	}
}

// buildClient generates the client and builds tools/apiclient with it; the sources stay outside
// of the tree.
func buildClient(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(filepath.Dir(here), "tools")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"-C", tools}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	source, program := filepath.Join(dir, "client.go"), filepath.Join(dir, "apiclient")
	run("tool", "oapi-codegen", "-generate", "types,client", "-package", "client", "-o", source, filepath.Join(here, "openapi.json"))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(tools, "apiclient", "client", "generated.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	run("build", "-tags", "apiclient", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./apiclient")
	return program
}
