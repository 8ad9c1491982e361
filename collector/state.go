package collector

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"flowtally/netflow"
)

// templateFile is where the templates of a listener are kept between runs.
func (p *process) templateFile(listen string) string {
	name := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' {
			return r
		}
		return '_'
	}, listen)
	return filepath.Join(p.StateDir, "templates-"+name+".json")
}

// identityFile is where the announced addresses of exporters are kept.
func (p *process) identityFile() string { return filepath.Join(p.StateDir, "identities.json") }

// loadTemplates takes over what the last run knew. Without it nothing is wrong:
// exporters repeat their templates, and data is held until they do.
func (p *process) loadTemplates() {
	if p.StateDir == "" {
		return
	}
	if f, err := os.Open(p.identityFile()); err == nil {
		if n := p.identities.load(bufio.NewReader(f)); n > 0 {
			p.Logger.Info(fmt.Sprintf("exporters: %d announced addresses reloaded", n))
		}
		f.Close()
	}
	for _, d := range p.decoders {
		name := p.templateFile(d.listen)
		n, err := load(d.Decoder, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.Logger.Info("templates: none kept from an earlier run", "address", d.listen)
		case err != nil:
			p.Logger.Warn(fmt.Sprintf("templates: %d reloaded, but some are damaged", n), "address", d.listen, "file", name, "error", err)
		default:
			p.Logger.Info(fmt.Sprintf("templates: %d reloaded", n), "address", d.listen)
		}
		p.metrics.reloaded.Add(float64(n))
	}
}

func load(d *netflow.Decoder, name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return d.Load(bufio.NewReader(f))
}

// saveTemplates keeps them for the next run. A file is there whole or as it was
// before, whatever happens meanwhile.
func (p *process) saveTemplates() {
	if p.StateDir == "" {
		return
	}
	for _, d := range p.decoders {
		err := save(d.Save, p.templateFile(d.listen))
		if err == nil {
			err = save(p.identities.save, p.identityFile())
		}
		switch {
		case err != nil && !p.saveFailed:
			p.Logger.Warn("templates not kept for the next run", "error", err)
		case err == nil && p.saveFailed:
			p.Logger.Info("templates are kept again")
		}
		p.saveFailed = err != nil
	}
}

// endTemplates keeps them when no message follows any more.
func (p *process) endTemplates() {
	for _, d := range p.decoders {
		d.End()
	}
	p.saveTemplates()
}

func save(write func(io.Writer) error, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when all went well: it has its name then
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
