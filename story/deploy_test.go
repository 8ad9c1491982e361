package story

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
	Volumes     []any             `yaml:"volumes"`
	Environment map[string]string `yaml:"environment"`
	Build       any               `yaml:"build"`
}

// TestComposeFile: every part is locked in, only what captures on the machine's own
// network is uid 0 and has one capability, pages without a login are this machine's
// alone, no secret is in the file.
func TestComposeFile(t *testing.T) {
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
	profiles := map[string][]string{
		"database": nil, "migrate": nil, "collector": nil, "web": nil, "exporter": {"live"}, "demo": {"demo"}, "class": {"class"},
		"vxlan": {"mirror"}, "geneve": {"mirror"}, "gre": {"mirror"}, "grafana": {"grafana"}, "prometheus": {"grafana"},
	}
	for name, in := range profiles {
		if s, ok := file.Services[name]; !ok || !slices.Equal(s.Profiles, in) {
			t.Errorf("service %s is in the profiles %v, want %v", name, s.Profiles, in)
		}
	}
	others := []string{"database", "grafana", "prometheus"} // whose images are
	for name, s := range file.Services {
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not locked in: %+v", name, s)
		}
		if s.StopGrace == "" || s.Restart == "" || (len(s.HealthCheck.Test) == 0 && name != "migrate") {
			t.Errorf("%s: no grace, no restart policy or no health check", name)
		}
		if other := slices.Contains(others, name); other != (s.Image != "flowtally") {
			t.Errorf("%s: image %s, want the one image of all parts", name, s.Image)
		} else if _, tag, _ := strings.Cut(s.Image, ":"); other && (tag == "" || tag == "latest") {
			t.Errorf("%s: image %s, want one that stays the same", name, s.Image)
		}
		// Several that build one image at once get into each other's way.
		if (s.Build != nil) != (name == "migrate") {
			t.Errorf("%s: build %v: the image is built in one place, migrate", name, s.Build)
		}
		live := name == "exporter" || name == "gre"
		if (s.User == "0:0") != live || (s.NetworkMode != "") != live || s.User != "" && !live && name != "class" {
			t.Errorf("%s: user %q, network %q: only capture is root on the host's network", name, s.User, s.NetworkMode)
		}
		switch {
		case live && !slices.Equal(s.CapAdd, []string{"NET_RAW"}):
			t.Errorf("%s: capabilities %v, want NET_RAW alone", name, s.CapAdd)
		case !live && name != "database" && len(s.CapAdd) != 0:
			t.Errorf("%s: capabilities %v, want none", name, s.CapAdd)
		}
		for _, p := range s.Ports {
			if !strings.HasSuffix(p, "/udp") && name != "class" && !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: what has no login is published as %s", name, p)
			}
		}
		for k, v := range s.Environment {
			if (strings.HasSuffix(k, "PASSWORD") && !strings.HasPrefix(v, "${")) || strings.HasPrefix(v, "postgres://") && !strings.Contains(v, ":${") {
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
	cmd := exec.Command("docker", "compose", "--profile", "*", "config", "--quiet")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "POSTGRES_PASSWORD=a", "WRITER_PASSWORD=b", "WEB_PASSWORD=c", "READER_PASSWORD=d")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}

// TestEnvExample: .env.example has a line for each variable of the compose file and for
// nothing else, with the value that holds without the line.
func TestEnvExample(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	comment := false
	for line := range strings.Lines(string(example)) {
		line = strings.TrimSpace(line)
		if m := regexp.MustCompile(`^#([A-Z0-9_]+)=(.*)$`).FindStringSubmatch(line); m != nil {
			if _, twice := said[m[1]]; twice || !comment {
				t.Errorf("%s stands there twice, or nothing says what it is", m[1])
			}
			said[m[1]] = m[2]
			continue
		}
		if comment = strings.HasPrefix(line, "# "); !comment && line != "" {
			t.Errorf("a line that is in force, or not understood: %s", line)
		}
	}
	used := map[string]bool{"COMPOSE_PROFILES": true} // compose's own
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)(?::([-?])((?:[^{}]|\$\{[^}]*\})*))?\}`).FindAllStringSubmatch(string(text), -1) {
		name, fallback := m[1], m[3]
		used[name] = true
		if strings.HasSuffix(name, "_PASSWORD") || name == "FLOWTALLY_VERSION" {
			continue // make env makes these; the version is of who builds
		}
		if value, ok := said[name]; !ok || value != fallback {
			t.Errorf("${%s:-%s}: .env.example says %q", name, fallback, value)
		}
	}
	// A variable that is handed on is a flag's: its value is the flag's default.
	for _, m := range regexp.MustCompile(`(?m)^ +(FLOWTALLY_([A-Z]+)_([A-Z0-9_]+)):$`).FindAllStringSubmatch(string(text), -1) {
		name, command, flag := m[1], strings.ToLower(m[2]), "--"+strings.ToLower(strings.ReplaceAll(m[3], "_", "-"))
		if command == "log" {
			command, flag = "version", "--log-"+strings.TrimPrefix(flag, "--")
		}
		used[name] = true
		value, ok := said[name]
		if !ok {
			t.Errorf("%s: .env.example does not say it", name)
			continue
		}
		_, help, _ := flowtally(t, command, "--help")
		line := regexp.MustCompile(`(?m)^ +(?:-\w, )?` + flag + ` .*$`).FindString(help)
		if line == "" {
			t.Errorf("%s: flowtally %s has no %s", name, command, flag)
			continue
		}
		var fallback string
		if m := regexp.MustCompile(`\(default "?([^")]*)"?\)$`).FindStringSubmatch(line); m != nil {
			fallback = m[1]
		}
		want := time.Duration(0)
		if d, err := time.ParseDuration(fallback); err == nil {
			want = d
		}
		got, _ := time.ParseDuration(value)
		if same := value == fallback || got == want && want != 0; !same && !(fallback == "" && (value == "0" || value == "false")) {
			t.Errorf("%s: .env.example says %q, flowtally %s: %s", name, value, command, strings.TrimSpace(line))
		}
	}
	for name := range said {
		if !used[name] {
			t.Errorf("%s: .env.example says it, and the compose file does not know it", name)
		}
	}
	if len(used) < 30 {
		t.Errorf("only %d variables", len(used))
	}
}
