package ingest_test

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// A disk that is full is a spool that is full: the oldest batches are dropped
// and counted, whoever filled it. When there is no room for anything, Write waits for
// the database.
func TestSpoolOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("flowtally-test", dir, "tmpfs", 0, "size=300k"); err != nil {
		t.Skipf("a small file system of its own takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	_, dsn, conn := storetest.Open(t)
	line, far := newWire(t, dsn)
	line.cut()
	s := spooling(t, far, dir, ingest.WriterConfig{})
	const batches, size = 30, 100
	for i := range batches {
		if err := s.Write(context.Background(), flow.Batch{Records: numbered(i*size, size)}); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody else takes all that is left.
	ballast, err := os.Create(dir + "/ballast")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	_ = ballast.Close()
	written := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { written <- s.Write(ctx, flow.Batch{Records: numbered(batches*size, 5*size)}) }()
	time.Sleep(50 * time.Millisecond)
	line.mend()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spool is empty", func() bool { return len(files(t, dir)) == 0 })
	s.stop()
	stored := storetest.Get[int](t, conn, "select count(*) from flows")
	lost := storetest.Get[int](t, conn, "select coalesce(sum(count), 0)::int from loss where stage = 'store'")
	if stored+lost != (batches+5)*size {
		t.Errorf("%d rows stored and %d counted as lost, of %d", stored, lost, (batches+5)*size)
	}
	if lost == 0 {
		t.Error("nothing gave way")
	}
	if n := storetest.Get[int](t, conn, "select count(distinct bytes) from flows"); n != stored {
		t.Errorf("%d rows stored, %d different", stored, n)
	}
}
