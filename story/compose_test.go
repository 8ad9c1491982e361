//go:build compose

package story

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"flowtally/netflow"
)

// The tests of the compose file on a real engine. deploy/test-compose.sh makes the
// engine, the images flowtally:now and flowtally:before, and the folders that these
// were built in, and runs TestCompose; it is not part of go test ./...
//
// The tests are one story: each goes on with what the one before left running.

// composed is the compose file in a folder.
type composed struct {
	dir string
	// story is the test of all chapters: what it is given lasts till the end.
	story *testing.T
}

// TestCompose is one story: each chapter goes on with what the one before left running.
func TestCompose(t *testing.T) {
	c := composed{folder(t, "FLOWTALLY_COMPOSE_NOW"), t}
	for _, chapter := range []struct {
		name string
		tell func(*testing.T, composed)
	}{
		{"up", composeUp},
		{"confines", composeConfines},
		{"publishes", composePublishes},
		{"totals", composeTotals},
		{"tells exporters apart", composeTellsExportersApart},
		{"survives", composeSurvives},
		{"down and up", composeDownAndUp},
		{"demo", composeDemo},
		{"live", composeLive},
		{"mirror", composeMirror},
		{"grafana", composeGrafana},
		{"class", composeClass},
		{"all at once", composeAll},
		{"backup and restore", composeBackup},
		{"env", composeEnv},
		{"upgrade", composeUpgrade},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.tell(t, c) }) {
			t.Fatalf("the story ends here")
		}
	}
}

func folder(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv(name)
	if dir == "" {
		t.Fatalf("%s is not set: run make test-compose", name)
	}
	return dir
}

// command runs a program in the folder and returns what it printed.
func (c composed) command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c composed) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// compose runs docker compose; every profile is known to it.
func (c composed) compose(t *testing.T, args ...string) string {
	t.Helper()
	return c.command(t, "docker", append([]string{"compose", "--ansi", "never", "--progress", "plain", "--profile", "*"}, args...)...)
}

// up starts services and waits until they are healthy. On failure their logs are shown.
func (c composed) up(t *testing.T, profile string, args ...string) {
	t.Helper()
	all := []string{"compose", "--ansi", "never", "--progress", "plain"}
	if profile != "" {
		all = append(all, "--profile", profile)
	}
	if _, err := c.try("docker", append(append(all, "up", "--detach", "--wait", "--pull", "never"), args...)...); err != nil {
		logs, _ := c.try("docker", "compose", "--profile", "*", "logs", "--tail", "20")
		t.Fatalf("%v\n%s", err, logs)
	}
}

// sql asks the database, as the role that reads.
func (c composed) sql(t *testing.T, query string) string {
	t.Helper()
	return c.compose(t, "exec", "-T", "database", "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-U", "flow_reader", "-d", "flowtally", "-c", query)
}

// number asks for one number.
func (c composed) number(t *testing.T, query string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(c.sql(t, query), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// eventually asks until the answer is what it should be.
func (c composed) eventually(t *testing.T, query, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if got = c.sql(t, query); got == want {
			return
		}
	}
	t.Errorf("%s: %s, want %s", query, got, want)
}

// within waits five minutes for something to be so.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("in vain: %s", what)
}

// container is what the engine says of one.
type container struct {
	Service string
	State   struct {
		Pid     int
		Running bool
		Health  struct{ Status string }
	}
	Config struct{ Labels map[string]string }
}

// running returns the containers that run, by service.
func (c composed) running(t *testing.T) map[string]container {
	t.Helper()
	ids := strings.Fields(c.compose(t, "ps", "--quiet"))
	var all []container
	if err := json.Unmarshal([]byte(c.command(t, "docker", append([]string{"inspect"}, ids...)...)), &all); err != nil {
		t.Fatal(err)
	}
	by := map[string]container{}
	for _, x := range all {
		x.Service = x.Config.Labels["com.docker.compose.service"]
		if x.State.Running {
			by[x.Service] = x
		}
	}
	return by
}

func (c composed) pid(t *testing.T, service string) int {
	t.Helper()
	x, ok := c.running(t)[service]
	if !ok {
		t.Fatalf("%s does not run", service)
	}
	return x.State.Pid
}

// healthy waits until a service is, in a process of another number than before.
func (c composed) healthy(t *testing.T, service string, before int) {
	t.Helper()
	for range 240 {
		if x, ok := c.running(t)[service]; ok && x.State.Pid != before && x.State.Health.Status == "healthy" {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("%s does not come back\n%s", service, c.compose(t, "logs", "--tail", "20", service))
}

// setEnv writes a line of .env anew.
func (c composed) setEnv(t *testing.T, name, value string) {
	t.Helper()
	file := filepath.Join(c.dir, ".env")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^#?` + name + `=.*$`)
	if !line.Match(text) {
		t.Fatalf(".env has no line %s=", name)
	}
	if err := os.WriteFile(file, line.ReplaceAllLiteral(text, []byte(name+"="+value)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// calm is slow enough for the bridge's program, which has the room of a small socket, on
// a machine that does much else.
const calm = 200 * time.Millisecond

// newGun returns a gun at the port of the compose file.
func newGun(t *testing.T, to string, domain uint32) *gun {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	return &gun{conn: conn, enc: enc, to: netip.MustParseAddrPort(to)}
}

// composeUp: what make up starts is healthy as it comes from the repository.
func composeUp(t *testing.T, c composed) {
	c.command(t, "make", "env")
	// The first time, the image is made: by one service, whatever the others wait for.
	c.command(t, "docker", "image", "rm", "flowtally")
	c.command(t, "docker", "compose", "--file", "docker-compose.yml", "--file", folder(t, "FLOWTALLY_COMPOSE_BUILD"), "--progress", "plain", "up", "--detach", "--wait")
	for _, service := range []string{"database", "collector", "web"} {
		if x := c.running(t)[service]; x.State.Health.Status != "healthy" {
			t.Errorf("%s is %q", service, x.State.Health.Status)
		}
	}
	if out := c.sql(t, "select count(*) from flows"); out != "0" {
		t.Errorf("a new house has %s flows", out)
	}
}

// composePublishes: what of the house is reached from outside is the page, by this
// machine alone, and the collector.
func composePublishes(t *testing.T, c composed) {
	want := []string{"tcp 127.0.0.1:8080", "udp 0.0.0.0:9995", "udp [::]:9995"}
	if got := listening(t); !slices.Equal(got, want) {
		t.Errorf("listening are %v, want %v", got, want)
	}
}

// listening returns who listens in this network.
func listening(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("ss", "-Hlntu").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		all = append(all, words[0]+" "+strings.ReplaceAll(words[4], "*:", "[::]:"))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// composeTotals: what is sent to the published port stands in the database and on
// the page, flow for flow.
func composeTotals(t *testing.T, c composed) {
	g := newGun(t, "127.0.0.1:9995", 9)
	for range 20 {
		g.fire(t)
		time.Sleep(calm)
	}
	sent := int64(g.number())
	c.eventually(t, "select count(*) from flows", strconv.FormatInt(sent, 10))
	if n, want := c.number(t, "select sum(bytes)::bigint from flows"), sent*(sent+1)/2; n != want {
		t.Errorf("%d bytes stored, %d sent", n, want)
	}
	var answer struct {
		Rows []struct{ Flows, Packets, Bytes int64 }
	}
	get(t, "http://127.0.0.1:8080/api/v1/top?key=src-addr&from=-1h", &answer)
	if len(answer.Rows) != 1 || answer.Rows[0].Flows != sent || answer.Rows[0].Packets != sent || answer.Rows[0].Bytes != sent*(sent+1)/2 {
		t.Errorf("the page has %+v, %d flows were sent", answer.Rows, sent)
	}
}

// router returns a gun at the end of a cable, with an address of its own.
func (c composed) router(t *testing.T, cable, gateway, addr string, domain uint32) *gun {
	t.Helper()
	n := c.cable(t, cable, gateway, addr)
	g := newGun(t, gateway+":9995", domain)
	var conn *net.UDPConn
	var err error
	n.in(func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr)}) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	g.conn = conn
	return g
}

// composeTellsExportersApart: a router on the network keeps its address; what comes
// by this machine itself has the bridge's, and is told apart by what it announces.
func composeTellsExportersApart(t *testing.T, c composed) {
	senders := map[string]*gun{
		"198.51.100.1": c.router(t, "cable1", "198.51.100.2", "198.51.100.1", 1),
		"198.51.100.5": c.router(t, "cable2", "198.51.100.6", "198.51.100.5", 1),
	}
	for _, addr := range []string{"192.0.2.7", "192.0.2.8"} {
		g := newGun(t, "127.0.0.1:9995", 1)
		a := netip.MustParseAddr(addr).As4()
		// exporterIPv4Address (130) in an options record of the metering process (143);
		// it has the number before 0.
		message := []byte{0, 10, 0, 46, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1,
			0, 3, 0, 18, 1, 200, 0, 2, 0, 1, 0, 143, 0, 4, 0, 130, 0, 4,
			1, 200, 0, 12, 0, 0, 0, 1, a[0], a[1], a[2], a[3]}
		binary.BigEndian.PutUint32(message[4:], uint32(time.Now().Unix()))
		if _, err := g.conn.WriteToUDPAddrPort(message, g.to); err != nil {
			t.Fatal(err)
		}
		senders[addr] = g
	}
	time.Sleep(200 * time.Millisecond)
	n := 0
	for _, g := range senders {
		n++
		for range n {
			g.fire(t)
			time.Sleep(gunPause)
		}
	}
	for addr, g := range senders {
		c.eventually(t, "select count(*) from flows where exporter_addr = '"+addr+"'", strconv.FormatUint(g.number(), 10))
	}
	if out := c.sql(t, "select coalesce(sum(missing_records), 0) from exporter_status"); out != "0" {
		t.Errorf("%s records are said to be missing", out)
	}
}

// blow is what befalls a service.
type blow struct {
	service string
	strike  func(t *testing.T, c composed)
}

// composeSurvives: each service is restarted, and killed, while a router and a program of
// this machine send; it comes back by itself, and every flow is stored once, or booked as
// missing.
func composeSurvives(t *testing.T, c composed) {
	guns := map[string]*gun{
		"10": c.router(t, "siege0", "198.51.100.18", "198.51.100.17", 10),
		"11": newGun(t, "127.0.0.1:9995", 11),
	}
	ctx, cease := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, g := range guns {
				g.fire(t)
			}
			time.Sleep(calm / 2)
		}
	}()
	defer func() { cease(); <-done }()
	// last is the number of the last flow of a gun that is stored.
	last := func(domain string) int64 {
		return c.number(t, "select coalesce(max(bytes), 0)::bigint from flows where observation_domain = "+domain)
	}
	booked := func() int64 {
		return c.number(t, "select coalesce(sum(count), 0)::bigint from loss where unit = 'record'")
	}
	restart := func(service string) blow {
		return blow{"restart " + service, func(t *testing.T, c composed) { c.compose(t, "restart", service) }}
	}
	kill := func(service string) blow {
		return blow{"kill " + service, func(t *testing.T, c composed) {
			if err := syscall.Kill(c.pid(t, service), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}}
	}
	c.keepRouters(t)
	for _, b := range []blow{restart("database"), kill("database"), restart("web"), kill("web"), restart("collector"), kill("collector")} {
		_, service, _ := strings.Cut(b.service, " ")
		before := c.pid(t, service)
		b.strike(t, c)
		c.healthy(t, service, before)
		for domain, g := range guns {
			fired := int64(g.number())
			within(t, "after "+b.service+" flows of domain "+domain+" are stored", func() bool { return last(domain) > fired })
		}
		// The database may go and come, and nothing is lost.
		if n := booked(); service != "collector" && n != 0 {
			t.Errorf("%s, and %d records are booked as missing", b.service, n)
		}
	}
	cease()
	<-done
	for domain, g := range guns {
		// What is missing shows in what follows it.
		for try := 0; last(domain) != int64(g.number()); try++ {
			if try > 60 {
				t.Fatalf("the last flows of domain %s are not stored", domain)
			}
			if try%10 == 0 {
				g.fire(t)
			}
			time.Sleep(time.Second)
		}
		sent, stored := int64(g.number()), c.number(t, "select count(*) from flows where observation_domain = "+domain)
		if different := c.number(t, "select count(distinct bytes) from flows where observation_domain = "+domain); different != stored {
			t.Errorf("%d flows of domain %s stored, only %d different", stored, domain, different)
		}
		t.Logf("domain %s: %d flows sent, %d stored", domain, sent, stored)
		if domain == "10" {
			// What comes by the bridge's program is somebody new after each start.
			within(t, "what of the router is missing is booked", func() bool { return stored+booked() == sent })
			t.Logf("%d booked as missing", booked())
		}
	}
	c.eventually(t, "select string_agg(distinct host(exporter_addr), ' ') from flows where observation_domain = 10", "198.51.100.17")
	if t.Failed() {
		t.Log(c.sql(t, "select exporter_id, stage, cause, unit, sum(count) from loss group by 1, 2, 3, 4"))
		t.Log(c.compose(t, "logs", "--tail", "50", "collector"))
	}
}

// keepRouters does what docs/compose.md says of engines that leave routers with the
// bridge's program after a restart.
func (c composed) keepRouters(t *testing.T) {
	t.Helper()
	version := c.command(t, "docker", "version", "--format", "{{.Server.Version}}")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 23 {
		t.Logf("Docker %s: a rule keeps routers from the bridge's program", version)
		c.command(t, "iptables", "-I", "INPUT", "!", "-i", "lo", "-p", "udp", "--dport", "9995", "-j", "DROP")
	}
}

// composeDownAndUp: down takes the containers and networks, up finds the data.
func composeDownAndUp(t *testing.T, c composed) {
	const sums = "select count(*), sum(bytes)::bigint, min(flow_start), max(flow_end) from flows"
	before := c.sql(t, sums)
	c.compose(t, "down")
	if left := c.command(t, "docker", "ps", "--all", "--quiet"); left != "" {
		t.Errorf("down leaves containers: %s", left)
	}
	c.up(t, "")
	if after := c.sql(t, sums); after != before {
		t.Errorf("before down %s, after up %s", before, after)
	}
}

// composeBackup: a backup is made while flows come and is whole; put back, in place of
// what was spoilt or into an empty house, it is what was there.
func composeBackup(t *testing.T, c composed) {
	c.compose(t, "stop", "demo", "exporter", "vxlan", "geneve", "gre")
	g := newGun(t, "127.0.0.1:9995", 14)
	ctx, cease := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			g.fire(t)
			time.Sleep(calm)
		}
	}()
	c.command(t, "make", "backup", "FILE=backups/under-fire.dump")
	cease()
	<-done
	const whole = "select (select count(*) from flows) = (select sum(records) from batches)"
	within(t, "what was sent is stored and summed", func() bool {
		return c.number(t, "select coalesce(max(bytes), 0)::bigint from flows where observation_domain = 14") == int64(g.number()) &&
			c.number(t, "select count(*) from batches where summed_at is null") == 0
	})
	c.command(t, "make", "backup", "FILE=backups/quiet.dump")
	if info, err := os.Stat(filepath.Join(c.dir, "backups/quiet.dump")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the backup: %v %v", info, err)
	}
	if _, err := c.try("make", "backup", "FILE=backups/quiet.dump"); err == nil {
		t.Error("a backup is written over another")
	}
	const all = `select (select count(*) || ' ' || sum(bytes) || ' ' || min(flow_start) || ' ' || max(flow_end) from flows),
		(select sum(flows) || ' ' || sum(bytes) from traffic_1m where dimension = 'total'),
		(select count(*) || ' ' || coalesce(sum(count), 0) from loss),
		(select string_agg(label || observation_domain, ',' order by id) from exporters),
		(select string_agg(name, ',' order by exporter_id, if_index) from interfaces where name = 'uplink')`
	before := c.sql(t, all)
	// Somebody spoils it, and then there is no backup in the file.
	owner := func(statement string) {
		c.compose(t, "exec", "-T", "database", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "flowtally", "-d", "flowtally", "-c", statement)
	}
	owner("delete from parts.flows where flow_end > now() - interval '1 hour'")
	spoilt := c.sql(t, all)
	if spoilt == before {
		t.Fatal("nothing is spoilt")
	}
	if err := os.WriteFile(filepath.Join(c.dir, "backups/bad.dump"), []byte("no backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole1, err := os.ReadFile(filepath.Join(c.dir, "backups/quiet.dump"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "backups/cut.dump"), whole1[:len(whole1)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"backups/bad.dump", "backups/cut.dump", "backups/none.dump", ""} {
		if _, err := c.try("make", "restore", "FILE="+file); err == nil {
			t.Errorf("%q is restored", file)
		}
		if got := c.sql(t, all); got != spoilt {
			t.Errorf("%q cannot be restored, and the database changed from\n%s to\n%s", file, spoilt, got)
		}
	}
	restored := func(file, want string) {
		t.Helper()
		c.command(t, "make", "restore", "FILE="+file)
		if got := c.sql(t, all); want != "" && got != want {
			t.Errorf("%s: restored is\n%s, backed up was\n%s", file, got, want)
		}
		if c.sql(t, whole) != "t" {
			t.Errorf("%s: there are flows of batches that are not there, or batches without their flows", file)
		}
		// And all goes on.
		n := c.number(t, "select count(*) from flows where observation_domain = 14")
		g.fire(t)
		within(t, "flows are stored after the restore", func() bool {
			return c.number(t, "select count(*) from flows where observation_domain = 14") == n+gunStep
		})
		var answer struct{ Rows []struct{ Flows int64 } }
		get(t, "http://127.0.0.1:8080/api/v1/top?key=src-addr&from=-1h", &answer)
		if len(answer.Rows) == 0 {
			t.Error("the page has no rows after the restore")
		}
	}
	restored("backups/quiet.dump", before)
	restored("backups/under-fire.dump", "")
	c.compose(t, "down", "--volumes")
	restored("backups/quiet.dump", before)
}

// composeEnv: each line of .env.example is in force when it stands in .env.
func composeEnv(t *testing.T, c composed) {
	example, err := os.ReadFile(filepath.Join(c.dir, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "env")
	for _, m := range regexp.MustCompile(`(?m)^#([A-Z0-9_]+)=`).FindAllStringSubmatch(string(example), -1) {
		name, value := m[1], "else"
		switch {
		case name == "COMPOSE_PROFILES":
			continue // see below
		case strings.HasSuffix(name, "_PORT"):
			value = "12345"
		case strings.HasSuffix(name, "_NETWORK"):
			value = "10.11.12"
		case strings.HasSuffix(name, "_MEMORY"):
			value = "123456789"
		}
		env := "POSTGRES_PASSWORD=a\nWRITER_PASSWORD=b\nWEB_PASSWORD=c\nREADER_PASSWORD=d\n" + name + "=" + value + "\n"
		if err := os.WriteFile(file, []byte(env), 0o600); err != nil {
			t.Fatal(err)
		}
		if config := c.command(t, "docker", "compose", "--env-file", file, "--profile", "*", "config"); !strings.Contains(config, value) {
			t.Errorf("%s=%s changes nothing", name, value)
		}
	}
	// And some of them for real: where the house is reached, and what it keeps.
	c.setEnv(t, "FLOWTALLY_WEB_PORT", "18080")
	c.setEnv(t, "FLOWTALLY_COLLECTOR_PORT", "19995")
	c.setEnv(t, "FLOWTALLY_NETWORK", "172.29.7")
	c.setEnv(t, "FLOWTALLY_COLLECTOR_ALLOW", "172.29.7.1")
	c.setEnv(t, "COMPOSE_PROFILES", "demo")
	c.compose(t, "down")
	c.up(t, "")
	want := []string{"tcp 127.0.0.1:18080", "udp 0.0.0.0:19995", "udp [::]:19995"}
	if got := listening(t); !slices.Equal(got, want) {
		t.Errorf("listening are %v, want %v", got, want)
	}
	if _, ok := c.running(t)["demo"]; !ok {
		t.Error("the demo does not run, and COMPOSE_PROFILES has it")
	}
	newGun(t, "127.0.0.1:19995", 12).fire(t)
	c.eventually(t, "select count(*) from flows where observation_domain = 12 and exporter_addr = '172.29.7.1'", strconv.Itoa(gunStep))
}

// composeUpgrade: a house of the commit before, with its files and its .env, becomes one
// of this with its data, by up alone.
func composeUpgrade(t *testing.T, c composed) {
	c.compose(t, "down", "--volumes")
	old := composed{folder(t, "FLOWTALLY_COMPOSE_BEFORE"), c.story}
	old.command(t, "make", "env")
	old.command(t, "docker", "tag", "flowtally:before", "flowtally")
	old.up(t, "", "--no-build")
	g := newGun(t, "127.0.0.1:9995", 13)
	for range 10 {
		g.fire(t)
		time.Sleep(calm)
	}
	const sums = "select count(*) || ' ' || sum(bytes) from flows where observation_domain = 13"
	n := int64(g.number())
	old.eventually(t, sums, fmt.Sprintf("%d %d", n, n*(n+1)/2))
	env, err := os.ReadFile(filepath.Join(old.dir, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, ".env"), env, 0o600); err != nil {
		t.Fatal(err)
	}
	c.command(t, "docker", "tag", "flowtally:now", "flowtally")
	c.up(t, "", "--no-build")
	for range 10 {
		g.fire(t)
		time.Sleep(calm)
	}
	n = int64(g.number())
	c.eventually(t, sums, fmt.Sprintf("%d %d", n, n*(n+1)/2))
	if missing := c.number(t, "select coalesce(sum(count), 0)::bigint from loss"); missing != 0 {
		t.Errorf("%d losses are booked, and nothing was lost", missing)
	}
	composeConfines(t, c)
	c.compose(t, "down", "--volumes")
}
