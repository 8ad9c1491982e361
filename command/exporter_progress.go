package command

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"flowtally/exporter/capture"
)

// progress shows on a terminal how far a file is read, until the function it
// returns is called.
func (f *exporterFlags) progress(stderr io.Writer, source capture.Source) (done func()) {
	done = func() {}
	terminal, ok := stderr.(*os.File)
	if f.read == "" || !ok || !term.IsTerminal(int(terminal.Fd())) {
		return done
	}
	position, ok := capture.As[capture.Positioner](source)
	if !ok {
		return done
	}
	_, total := position.Position()
	if total == 0 {
		total = -1 // nobody knows
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(terminal),
		progressbar.OptionSetDescription("reading"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now, _ := position.Position()
				_ = bar.Set64(now)
			case <-stop:
				_ = bar.Clear()
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
