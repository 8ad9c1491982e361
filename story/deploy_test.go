package story

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type composeService struct {
	Image       string   `yaml:"image"`
	User        string   `yaml:"user"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	Ports       []string `yaml:"ports"`
	Profiles    []string `yaml:"profiles"`
	NetworkMode string   `yaml:"network_mode"`
	Privileged  bool     `yaml:"privileged"`
	StopGrace   string   `yaml:"stop_grace_period"`
	Restart     string   `yaml:"restart"`
	HealthCheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	Volumes     []string          `yaml:"volumes"`
	Environment map[string]string `yaml:"environment"`
}

// TestComposeKeepsItsPromises: every part is locked in, only live capture is uid 0
// and has one capability, the page is this machine's alone, no secret is in the file.
func TestComposeKeepsItsPromises(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]composeService `yaml:"services"`
	}
	// This reader takes a key that overrides a merged one for a duplicate.
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"database", "migrate", "collector", "web", "exporter", "demo"} {
		if _, ok := file.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, s := range file.Services {
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not locked in: %+v", name, s)
		}
		if s.StopGrace == "" || s.Restart == "" || (len(s.HealthCheck.Test) == 0 && name != "migrate") {
			t.Errorf("%s: no grace, no restart policy or no health check", name)
		}
		if name != "database" && s.Image != "flowtally" {
			t.Errorf("%s: image %s, want the one image of all parts", name, s.Image)
		}
		live := name == "exporter"
		if (s.User != "") != live || (s.NetworkMode != "") != live {
			t.Errorf("%s: user %q, network %q: only live capture is root on the host's network", name, s.User, s.NetworkMode)
		}
		switch {
		case live && !slices.Equal(s.CapAdd, []string{"NET_RAW"}):
			t.Errorf("%s: capabilities %v, want NET_RAW alone", name, s.CapAdd)
		case !live && name != "database" && len(s.CapAdd) != 0:
			t.Errorf("%s: capabilities %v, want none", name, s.CapAdd)
		}
		for _, p := range s.Ports {
			if strings.HasSuffix(p, ":8080") && !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: the page is published as %s", name, p)
			}
		}
		for k, v := range s.Environment {
			if strings.HasSuffix(k, "PASSWORD") && !strings.HasPrefix(v, "${") {
				t.Errorf("%s: %s is written into the file", name, k)
			}
		}
	}
	// Its root is read-only: without a volume the spool would have no place.
	if !slices.Contains(file.Services["collector"].Volumes, "spool:/var/lib/flowtally") {
		t.Errorf("collector: volumes %v, want one for the spool", file.Services["collector"].Volumes)
	}
	// Where PostgreSQL says that its data is, the collector sees the same volume.
	if !slices.Contains(file.Services["collector"].Volumes, "database:/var/lib/postgresql/data:ro,nocopy") {
		t.Errorf("collector: volumes %v, want the database's, to see how full its disk is", file.Services["collector"].Volumes)
	}
	docker, err := os.ReadFile(filepath.Join(root, "deploy/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docker), "\nUSER 65532") {
		t.Error("the image runs as root")
	}
	if !strings.Contains(string(docker), "--chown=65532:65532 /state /var/lib/flowtally") {
		t.Error("the image has no directory for the spool that its user may write to")
	}
}

func TestComposeIsAccepted(t *testing.T) {
	if out, err := exec.Command("docker", "compose", "version").CombinedOutput(); err != nil {
		t.Skipf("docker compose is not installed: %v: %s", err, strings.TrimSpace(string(out)))
	}
	cmd := exec.Command("docker", "compose", "--profile", "live", "--profile", "demo", "config", "--quiet")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "POSTGRES_PASSWORD=a", "WRITER_PASSWORD=b", "WEB_PASSWORD=c", "READER_PASSWORD=d")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}
