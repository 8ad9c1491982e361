//go:build compose

package story

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// confinement is what the processes of a service may do.
type confinement struct {
	uid          int
	capabilities uint64   // that they have
	bound        uint64   // that they could get
	writes       []string // what they can write to, besides /dev and /proc
}

const netRaw = 1 << 13

// confined has every service. The database's entry point needs, to become postgres, what
// postgres itself does not have: CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID.
var confined = map[string]confinement{
	"database":   {uid: 999, bound: 1<<0 | 1<<1 | 1<<3 | 1<<6 | 1<<7, writes: []string{"/run/postgresql", "/tmp", "/var/lib/postgresql/data"}},
	"collector":  {uid: 65532, writes: []string{"/var/lib/flowtally"}},
	"web":        {uid: 65532},
	"class":      {uid: 65532},
	"exporter":   {uid: 0, capabilities: netRaw, bound: netRaw},
	"gre":        {uid: 0, capabilities: netRaw, bound: netRaw},
	"vxlan":      {uid: 65532},
	"geneve":     {uid: 65532},
	"demo":       {uid: 65532, writes: []string{"/var/lib/flowtally"}},
	"grafana":    {uid: 472, writes: []string{"/tmp", "/var/lib/grafana"}},
	"prometheus": {uid: 65534, writes: []string{"/prometheus"}},
}

// checkConfined holds every process of a container to what it may.
func checkConfined(t *testing.T, service string, pid int) {
	t.Helper()
	want, ok := confined[service]
	if !ok {
		t.Errorf("nobody says what %s may do", service)
		return
	}
	mounts, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, dir := range processes {
		if ns, err := os.Readlink(dir + "/ns/mnt"); err != nil || ns != mounts {
			continue
		}
		text, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // ended just now
		}
		n++
		status := map[string][]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			status[key] = strings.Fields(value)
		}
		mask := func(key string) uint64 {
			x, err := strconv.ParseUint(status[key][0], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		name := service + ": " + status["Name"][0]
		uid := strconv.Itoa(want.uid)
		// Real, effective, saved, and that of files.
		if !slices.Equal(status["Uid"], []string{uid, uid, uid, uid}) {
			t.Errorf("%s has the users %v, want %s", name, status["Uid"], uid)
		}
		if mask("CapEff") != want.capabilities || mask("CapPrm") != want.capabilities || mask("CapBnd") != want.bound || mask("CapAmb") != 0 {
			t.Errorf("%s has the capabilities %v, permitted %v, bound %v, ambient %v; want %x, bound %x",
				name, status["CapEff"], status["CapPrm"], status["CapBnd"], status["CapAmb"], want.capabilities, want.bound)
		}
		if status["NoNewPrivs"][0] != "1" || status["Seccomp"][0] != "2" {
			t.Errorf("%s: no_new_privs %v, seccomp %v", name, status["NoNewPrivs"], status["Seccomp"])
		}
	}
	if n == 0 {
		t.Errorf("%s has no process", service)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", pid))
	if err != nil {
		t.Fatal(err)
	}
	var writes []string
	// /sys/fs/cgroup is the engine's: a folder of hierarchies, each read-only.
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		place, options := words[1], strings.Split(words[3], ",")
		if slices.Contains(options, "rw") && place != "/proc" && !strings.HasPrefix(place, "/proc/") && place != "/dev" && !strings.HasPrefix(place, "/dev/") && place != "/sys/fs/cgroup" {
			writes = append(writes, place)
		}
	}
	slices.Sort(writes)
	if !slices.Equal(writes, want.writes) {
		t.Errorf("%s can write to %v, want %v", service, writes, want.writes)
	}
}

// get asks for JSON.
func get(t *testing.T, url string, answer any) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// composeConfines: whatever runs is who it should be, and nothing runs that is not.
func composeConfines(t *testing.T, c composed) {
	for service, x := range c.running(t) {
		checkConfined(t, service, x.State.Pid)
	}
}

// composeDemo: the demo tells its day once, under an address that stays, however often
// it is stopped and started.
func composeDemo(t *testing.T, c composed) {
	c.up(t, "demo")
	const demo = " where exporter_addr = '172.30.95.10'"
	within(t, "the demo's day is told up to now", func() bool {
		return c.sql(t, "select coalesce(min(flow_start) < now() - interval '23 hours' and max(flow_end) > now() - interval '2 minutes', false) from flows"+demo) == "t"
	})
	if n := c.number(t, "select count(distinct date_trunc('hour', flow_end)) from flows"+demo); n < 24 {
		t.Errorf("the demo's day has %d hours", n)
	}
	// At night it is stopped, and in the morning it is started.
	evening := c.sql(t, "select now()")
	c.compose(t, "stop", "demo")
	time.Sleep(3 * time.Second) // the collector writes what it has
	day := "select count(*), sum(bytes)::bigint from flows" + demo + " and flow_end < '" + evening + "'"
	before, exporters := c.sql(t, day), c.sql(t, "select id from exporters where addr = '172.30.95.10' order by 1")
	c.compose(t, "rm", "--force", "demo") // the container is another one then
	c.up(t, "demo")
	within(t, "the demo goes on", func() bool {
		return c.number(t, "select count(*) from flows"+demo+" and flow_start > '"+evening+"'") > 0
	})
	if after := c.sql(t, day); after != before {
		t.Errorf("the demo's day had %s flows and bytes in the evening, and has %s in the morning", before, after)
	}
	if after := c.sql(t, "select id from exporters where addr = '172.30.95.10' order by 1"); after != exporters {
		t.Errorf("the demo was the exporters %s, and is %s", exporters, after)
	}
	if n := c.number(t, "select count(distinct addr) from exporters where addr << '172.30.95.0/24' and addr <> '172.30.95.1'"); n != 1 {
		t.Errorf("%d addresses of the parts' network are exporters, want the demo's alone", n)
	}
}

// cable joins a namespace with an address to the network of the engine.
func (c composed) cable(t *testing.T, name, here, there string) *namespace {
	t.Helper()
	n := newNamespace(t)
	c.command(t, "sh", "-c", fmt.Sprintf("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d && ip addr add %s/30 dev %s && ip link set %s up",
		name, os.Getpid(), n.fd, here, name, name))
	n.run("ip addr add "+there+"/30 dev eth0", "ip link set eth0 up", "ip route add default via "+here)
	return n
}

// composeLive: what passes an interface of the machine stands in the database, packet
// for packet.
func composeLive(t *testing.T, c composed) {
	// The exporter goes on as long as there is its interface.
	guest := c.cable(c.story, "live0", "10.8.0.1", "10.8.0.2").machine("10.8.0.2")
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 8, 0, 1), Port: trafficPort})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	host := &machine{addr: netip.MustParseAddr("10.8.0.1"), conn: conn}
	guest.reach(t, host)
	c.setEnv(t, "FLOWTALLY_INTERFACE", "live0")
	c.setEnv(t, "FLOWTALLY_EXPORTER_IDLE_TIMEOUT", "5s")
	c.up(t, "live")
	guest.send(t, host, 200, 100)
	host.send(t, guest, 300, 1400)
	c.eventually(t, "select coalesce(sum(packets), 0) || ' ' || coalesce(sum(bytes), 0) from flows where src_addr = '10.8.0.2' and dst_addr = '10.8.0.1' and dst_port = 7", "200 20000")
	c.eventually(t, "select coalesce(sum(packets), 0) || ' ' || coalesce(sum(bytes), 0) from flows where src_addr = '10.8.0.1' and dst_addr = '10.8.0.2' and dst_port = 7", "300 420000")
}

// composeMirror: what a host sends by VXLAN, GENEVE, GRE and ERSPAN to this machine
// stands in the database, under the names that .env gives.
func composeMirror(t *testing.T, c composed) {
	c.setEnv(t, "FLOWTALLY_EXPORTER_CLIENT", "198.51.100.9/42=rack 198.51.100.9/7=core")
	c.up(t, "mirror")
	sensor := c.cable(t, "mirror0", "198.51.100.10", "198.51.100.9")
	const frame = "020000000001" + "020000000002" + "0800"
	for i, tunnel := range []struct{ name, network, header, client string }{
		{"VXLAN", "udp4 4789", "0800000000002a00" + frame, "rack"},
		{"GENEVE", "udp4 6081", "0000655800002a00" + frame, "rack"},
		{"GRE", "ip4:47", "20006558" + "0000002a" + frame, "rack"},
		{"ERSPAN", "ip4:47", "100088be" + "00000000" + "10640c07" + "00000000" + frame, "core"},
	} {
		datagram, err := hex.DecodeString(tunnel.header)
		if err != nil {
			t.Fatal(err)
		}
		at := len(datagram)
		src, dst := fmt.Sprintf("10.77.0.%d", i+1), "10.77.1.1"
		datagram = append(datagram, ipv4UDP(netip.MustParseAddr(src), netip.MustParseAddr(dst), 100)...)
		var conn net.Conn
		sensor.in(func() {
			if network, port, ok := strings.Cut(tunnel.network, " "); ok {
				conn, err = net.Dial(network, "198.51.100.10:"+port)
			} else {
				conn, err = net.Dial(network, "198.51.100.10")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for k := range 50 {
			binary.BigEndian.PutUint16(datagram[at+4:], uint16(k+1)) // each is a packet of its own
			if _, err := conn.Write(datagram); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		conn.Close()
		t.Run(tunnel.name, func(t *testing.T) {
			c.eventually(t, "select coalesce(sum(packets), 0) || ' ' || coalesce(sum(bytes), 0) from flows where src_addr = '"+src+"'", "50 5000")
			c.eventually(t, "select distinct i.name from flows f join interfaces i on i.exporter_id = f.exporter_id and i.if_index = f.in_if where src_addr = '"+src+"'", tunnel.client)
		})
	}
	c.eventually(t, "select string_agg(host(addr) || ' ' || observation_domain, ', ' order by addr) from exporters where addr in ('172.30.95.11', '172.30.95.12') or observation_domain = 3",
		"172.30.95.1 3, 172.30.95.11 0, 172.30.95.12 0")
}

// composeGrafana: Grafana is healthy and reaches both of its sources; Prometheus asks
// every part that runs, and has no fault to find in the rules.
func composeGrafana(t *testing.T, c composed) {
	c.up(t, "grafana")
	var health struct{ Database string }
	get(t, "http://127.0.0.1:3000/api/health", &health)
	if health.Database != "ok" {
		t.Errorf("Grafana says %+v", health)
	}
	c.compose(t, "exec", "-T", "grafana", "wget", "-q", "-O", "/dev/null", "http://prometheus:9090/-/ready")
	c.compose(t, "exec", "-T", "grafana", "sh", "-c", "echo no question | timeout 10 nc database 5432")
	// With the password that Grafana is given, over the network.
	password := c.compose(t, "exec", "-T", "grafana", "sh", "-c", "echo $READER_PASSWORD")
	if who := c.compose(t, "exec", "-T", "-e", "PGPASSWORD="+password, "database", "psql", "-X", "-At", "-h", "database", "-U", "flow_reader", "-d", "flowtally", "-c", "select current_user"); who != "flow_reader" {
		t.Errorf("Grafana asks as %q", who)
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct {
				Labels    map[string]string
				Health    string
				LastError string
			}
		}
	}
	var up []string
	within(t, "Prometheus has asked every part", func() bool {
		targets.Data.ActiveTargets = nil
		get(t, "http://127.0.0.1:9090/api/v1/targets", &targets)
		up = nil
		for _, x := range targets.Data.ActiveTargets {
			if x.Health == "up" {
				up = append(up, x.Labels["instance"])
			}
		}
		slices.Sort(up)
		return slices.Equal(up, []string{"collector", "demo", "geneve", "vxlan", "web"})
	})
	if t.Failed() {
		t.Errorf("Prometheus has %+v", targets.Data.ActiveTargets)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	within(t, "Prometheus has judged", func() bool {
		get(t, "http://127.0.0.1:9090/api/v1/rules", &rules)
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				// Before the first answer of the collector it was thought to be away.
				if r.Health != "ok" || r.Name == "FlowtallyCollectorDown" && r.State != "inactive" {
					return false
				}
			}
		}
		return len(rules.Data.Groups) > 0
	})
	c.compose(t, "exec", "-T", "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
	c.compose(t, "exec", "-T", "-e", "TMPDIR=/prometheus", "prometheus", "promtool", "test", "rules", "/etc/prometheus/alerts_test.yml")
}

// visitor is a browser at the page for a class.
type visitor struct {
	t      *testing.T
	client *http.Client
	page   string
}

func (v *visitor) ask(method, path, body string) (status int, text string) {
	v.t.Helper()
	req, err := http.NewRequest(method, v.page+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(b)
}

// composeClass: the teacher and the students come in by TLS, from another machine, with
// the passwords that make class printed; nobody else does.
func composeClass(t *testing.T, c composed) {
	said := c.command(t, "make", "class", "STUDENTS=ann bob")
	c.up(t, "class")
	pem, err := os.ReadFile(filepath.Join(c.dir, "class", "web.pem"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(pem) {
		t.Fatal("class/web.pem holds no certificate")
	}
	desk := c.cable(t, "desk0", "198.51.100.14", "198.51.100.13")
	visit := func(name string) *visitor {
		jar, _ := cookiejar.New(nil)
		v := &visitor{t, &http.Client{Jar: jar, Transport: &http.Transport{
			// The certificate was made before the cable; it is good for this machine's own name.
			TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: "localhost"},
			DialContext: func(_ context.Context, network, addr string) (conn net.Conn, err error) {
				desk.in(func() { conn, err = net.DialTimeout(network, addr, 10*time.Second) })
				return conn, err
			},
		}}, "https://198.51.100.14:8443"}
		if name != "" {
			m := regexp.MustCompile(`(?m)^` + name + `: \w+, password (\S+)$`).FindStringSubmatch(said)
			if m == nil {
				t.Fatalf("make class does not say %s's password: %s", name, said)
			}
			login, _ := json.Marshal(map[string]string{"user": name, "password": m[1]})
			if status, text := v.ask("POST", "/api/v1/login", string(login)); status/100 != 2 {
				t.Errorf("%s is not let in: %d %s", name, status, text)
			}
		}
		return v
	}
	const question = "/api/v1/top?key=src-addr&from=-1h"
	id := c.sql(t, "select id from exporters order by id limit 1")
	rename := func(v *visitor) int {
		status, _ := v.ask("PUT", "/api/v1/interfaces/"+id+"/1", `{"name": "uplink"}`)
		return status
	}
	nobody, ann, teacher := visit(""), visit("ann"), visit("teacher")
	if status, _ := nobody.ask("GET", question, ""); status != http.StatusUnauthorized {
		t.Errorf("without a login the page answers %d", status)
	}
	if status, text := ann.ask("GET", question, ""); status != http.StatusOK {
		t.Errorf("a student asks: %d %s", status, text)
	}
	if status := rename(ann); status != http.StatusForbidden {
		t.Errorf("a student names an interface: %d", status)
	}
	if status := rename(teacher); status/100 != 2 {
		t.Errorf("the teacher names an interface: %d", status)
	}
	if status, _ := nobody.ask("POST", "/api/v1/login", `{"user": "ann", "password": "guessed"}`); status != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d", status)
	}
	// Who comes later is let in without a restart, and those who are there keep their passwords.
	hashes, err := os.ReadFile(filepath.Join(c.dir, "class", "users"))
	if err != nil {
		t.Fatal(err)
	}
	said = c.command(t, "make", "class", "STUDENTS=eve")
	time.Sleep(3 * time.Second) // the file is believed for two seconds
	visit("eve")
	if now, _ := os.ReadFile(filepath.Join(c.dir, "class", "users")); !bytes.HasPrefix(now, hashes) {
		t.Error("a further student changes the lines of the others")
	}
	if info, err := os.Stat(filepath.Join(c.dir, "class", "web.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v %v", info, err)
	}
	if _, err := c.try("make", "class", "STUDENTS=a:b"); err == nil {
		t.Error("a name that would break the file is taken")
	}
	// The page without a login is not to be had from there.
	var dialed error
	desk.in(func() {
		var conn net.Conn
		if conn, dialed = net.DialTimeout("tcp", "198.51.100.14:8080", 2*time.Second); dialed == nil {
			conn.Close()
		}
	})
	if dialed == nil {
		t.Error("the page without a login answers another machine")
	}
}

// composeAll: with every profile at once nothing more is published than is said.
func composeAll(t *testing.T, c composed) {
	want := []string{
		"tcp 0.0.0.0:8443", "tcp 127.0.0.1:3000", "tcp 127.0.0.1:8080", "tcp 127.0.0.1:9090", "tcp 127.0.0.1:9997", "tcp 127.0.0.1:9998", "tcp [::]:8443",
		"udp 0.0.0.0:4789", "udp 0.0.0.0:6081", "udp 0.0.0.0:9995", "udp [::]:4789", "udp [::]:6081", "udp [::]:9995",
	}
	if got := listening(t); !slices.Equal(got, want) {
		t.Errorf("listening are %v, want %v", got, want)
	}
	services := strings.Fields(c.compose(t, "config", "--services"))
	running := c.running(t)
	for _, service := range services {
		if x := running[service]; service != "migrate" && x.State.Health.Status != "healthy" {
			t.Errorf("%s is %q", service, x.State.Health.Status)
		}
	}
	composeConfines(t, c)
}
