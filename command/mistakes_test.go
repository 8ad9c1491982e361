package command

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// notOurs are words of Go's library and of the libraries that read flags and files, which
// are for those who write programs.
var notOurs = regexp.MustCompile(`strconv|\bpars(e|ing)\b|time: (missing|unknown|invalid)|\bdial\b|\blookup\b|\blisten (udp|tcp)|\bnet\.|invalid argument|invalid syntax|unmarshal|out of range|` +
	`\bopen [/.a-z]|unknown (short|flag)|flag needs|<nil>|%!|Go value|interface \{|accepts \d|no such host|runtime error|unexpected EOF|map\[|filter: filter|\?\.`)

// errNotPlain returns what of a text is not ours, else empty.
func errNotPlain(text string) string { return notOurs.FindString(text) }

// eachCommand calls f with every command, by the words that call it.
func eachCommand(f func(words []string, cmd *cobra.Command)) {
	var walk func([]string, *cobra.Command)
	walk = func(words []string, cmd *cobra.Command) {
		f(words, cmd)
		for _, c := range cmd.Commands() {
			walk(append(words[:len(words):len(words)], c.Name()), c)
		}
	}
	walk(nil, rootCommand("", &bytes.Buffer{}, &bytes.Buffer{}))
}

// fresh is a command of which no flag is set.
func fresh(t *testing.T, words []string) *cobra.Command {
	t.Helper()
	cmd, _, err := rootCommand("", &bytes.Buffer{}, &bytes.Buffer{}).Find(words)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.ParseFlags(nil) // the flags of every command are among its own now
	return cmd
}

// rubbish is what no number, no time, no address and no word is; some of it may be a file.
var rubbish = []string{
	"", " ", "-1", "0", "x y", "🙂", "1e400", "99999999999999999999999", "-99999999999999999999999", "%s", "300q", "::::", "http://x/y", ":99999", "1.2.3",
	"nope/nope", "\x00", "a\nb", "5x", "true", "2020-13-45", "10.0.0.0/33", "=", ",", ",,", "a=b=c", "[", "\"", "'", "1:0", "NaN", "0x", "+", "localhost:", "1,2,,3",
}

// sentenceLaws hold of every answer to a mistake.
func sentenceLaws(t *testing.T, what, text string) {
	t.Helper()
	if leak := errNotPlain(text); leak != "" {
		t.Errorf("%s is answered with %q, which says %q", what, text, leak)
	}
	if strings.TrimSpace(text) == "" || strings.ContainsAny(text, "\n\r") || len(text) > 700 {
		t.Errorf("%s is answered with %q, which is not one sentence", what, text)
	}
}

// The law of every flag of every command, on the command line, in the environment and in
// the file: what cannot be meant is answered with the name of the flag and what it wants, in
// one line and in our words. It would hold of a flag added tomorrow; one that refuses
// nothing at all has no kind.
func TestEveryFlagSaysWhatItWants(t *testing.T) {
	dir := t.TempDir()
	eachCommand(func(words []string, _ *cobra.Command) {
		cmd := fresh(t, words)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			name := strings.Join(words, " ") + " --" + f.Name
			if _, ok := f.Value.(interface{ wanted() string }); !ok {
				t.Errorf("%s is of no kind: it is added by one, many or toggle", name)
				return
			}
			refused := 0
			// One that refused a value is as it was.
			byLine, byVariable, byFile := fresh(t, words), fresh(t, words), fresh(t, words)
			for i, text := range rubbish {
				what := fmt.Sprintf("%s=%q", name, text)
				// On the command line.
				c := byLine
				err := c.ParseFlags([]string{"--" + f.Name + "=" + text})
				if err == nil {
					byLine = fresh(t, words)
					continue
				}
				refused++
				said := sentence(c.FlagErrorFunc()(c, err))
				sentenceLaws(t, what, said)
				if !strings.Contains(said, "--"+f.Name) || !says(said, "want ", "write ", "its filter", "there is no", "character", "key", "it ", "at ") {
					t.Errorf("%s is answered with %q, which does not say what is wanted of which flag", what, said)
				}
				if f.Name == "config" || text == "" || strings.Contains(text, "\x00") {
					continue
				}
				// In the environment: a text there is divided at its blanks.
				c = byVariable
				variable := envName(c, f.Name)
				err = applySettings(c, func(name string) (string, bool) {
					if name == variable {
						return text, true
					}
					return "", false
				})
				if err == nil && !strings.ContainsAny(text, " \n") {
					t.Errorf("%s=%q is taken", variable, text)
				}
				if err == nil {
					byVariable = fresh(t, words)
				} else {
					sentenceLaws(t, variable, sentence(err))
					if !strings.Contains(err.Error(), variable) {
						t.Errorf("%s=%q is answered with %q", variable, text, err)
					}
				}
				// In the file.
				if len(words) == 0 {
					continue
				}
				c = byFile
				file := filepath.Join(dir, "flowtally.yaml")
				if i%4 == 0 { // a file each is slow
					yaml := fmt.Sprintf("%q:\n  %s: %q\n", strings.Join(words, " "), f.Name, text)
					if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := c.Flags().Set("config", file); err != nil {
						t.Fatal(err)
					}
					err = applySettings(c, func(string) (string, bool) { return "", false })
					if err == nil && !strings.ContainsAny(text, " \n") {
						t.Errorf("%s is taken", yaml)
					}
					if err == nil {
						byFile = fresh(t, words)
					} else {
						sentenceLaws(t, yaml, sentence(err))
						if !strings.Contains(err.Error(), file+": "+strings.Join(words, " ")+": "+f.Name) {
							t.Errorf("%s is answered with %q", yaml, err)
						}
					}
				}
			}
			if refused == 0 {
				t.Errorf("%s takes whatever it is given", name)
			}
			// Without any value, and misspelt.
			if f.NoOptDefVal == "" {
				c := fresh(t, words)
				said := sentence(c.FlagErrorFunc()(c, c.ParseFlags([]string{"--" + f.Name})))
				sentenceLaws(t, name, said)
				if !strings.Contains(said, "--"+f.Name+" stands without a value: want ") {
					t.Errorf("%s without a value is answered with %q", name, said)
				}
			}
			c := fresh(t, words)
			typo := f.Name[:len(f.Name)-1]
			if c.Flags().Lookup(typo) == nil && len(typo) > 2 {
				said := sentence(c.FlagErrorFunc()(c, c.ParseFlags([]string{"--" + typo + "=1"})))
				sentenceLaws(t, name, said)
				if !strings.Contains(said, "did you mean --"+typo) {
					t.Errorf("--%s is answered with %q", typo, said)
				}
			}
		})
	})
}

// says reports whether a text has one of the words.
func says(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// A file whose values are of the wrong sort is answered in the same words.
func TestMistakesInTheFile(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, yaml, says string }{
		{"list_of_one", "exporter:\n  pace: [1, 2]\n", "exporter: pace: takes one value, not a list"},
		{"mapping_of_one", "exporter:\n  pace: {a: 1}\n", "takes a value, not a mapping"},
		{"nothing", "exporter:\n  pace:\n", "exporter: pace: has no value"},
		{"list_of_lists", "exporter:\n  to: [[a, b]]\n", "not one of lists"},
		{"mapping_without_address", "exporter:\n  to: [{version: 9}]\n", "a mapping needs an address"},
		{"mapping_of_wrong_version", "exporter:\n  to: [{address: h:1, version: 7}]\n", "5, 9 or 10 (IPFIX)"},
		{"word_for_a_number", "exporter:\n  pace: many\n", "exporter: pace: want records a second"},
		{"fraction_for_a_number", "exporter:\n  workers: 1.5\n", `exporter: workers: "1.5": want a number of workers`},
		{"misspelt_setting", "exporter:\n  pase: 5\n", `there is no setting "pase"; did you mean pace?`},
		{"misspelt_section", "expoter:\n  pace: 5\n", `there is no command "expoter" to configure; did you mean exporter?`},
		{"setting_without_section", "log-level: debug\n", "belongs under the name of a command"},
		{"section_without_settings", "exporter: fast\n", "exporter: want settings under it"},
		{"list_for_sections", "- exporter\n", "want sections"},
		{"word_for_sections", "exporter\n", "want sections"},
		{"broken", "exporter: [\n", "configuration file"},
		{"tabs", "exporter:\n\tpace: 5\n", "configuration file"},
		{"twice", "exporter:\n  pace: 5\n  pace: 6\n", "pace"},
		{"the_same_destination_twice", "exporter:\n  to: [\"h:1\", \"h:1\"]\n", "h:1 is given twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, tt.name+".yaml")
			if err := os.WriteFile(file, []byte(tt.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			words := []string{"exporter"}
			if strings.HasPrefix(tt.yaml, "collector") {
				words = []string{"collector"}
			}
			status, stdout, stderr := flowtally(t, append(words, "--config", file)...)
			if status != 2 || stdout != "" || !strings.Contains(stderr, tt.says) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("status %d, it said %q, want %q", status, stderr, tt.says)
			}
			sentenceLaws(t, tt.yaml, strings.TrimSuffix(stderr, "\n"))
		})
	}
}

// The mistakes of a tired person: each is answered in one sentence that says what is wrong
// and what to write.
func TestMistakes(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", dir)
	t.Setenv("HOME", dir)
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	text, empty := write("notes.txt", "this is no capture, whatever its name says\n"), write("empty.pcap", "")
	key := write("key.pem", "not a key\n")
	users := write("users", "alice\n")
	capture := write("one.pcap", string(onePacket))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenUDP.Close()
	const db = "--database=postgres://x:s3kr1t@127.0.0.1:1/x"

	for _, tt := range []struct {
		status int
		call   string // words, divided by blanks; | stands for a blank inside of one
		says   string
	}{
		// Commands.
		{2, "expoter", "did you mean exporter?"},
		{2, "colector", "did you mean collector?"},
		{2, "flow", "did you mean flows?"},
		{2, "dashboard", `there is no command "dashboard"`},
		{2, "help-me", "flowtally --help lists them"},
		{2, "help expoter", "did you mean exporter?"},
		{2, "help web uesr", "did you mean user?"},
		{2, "web uesr", "did you mean user?"},
		{2, "exporters forgt", "did you mean forget?"},
		{2, "exporters forget", "takes the exporters to forget"},
		{2, "web user", "takes one argument, the name of the user"},
		{2, "web user alice bob", "2 are given"},
		{2, "web user alice --role admin", "want viewer or editor"},
		{2, "web token --user alice --name x --days 0 " + db, "a number of days, 1 to 366"},
		{2, "web token lst", "did you mean list?"},
		{2, "completion", "bash, zsh or fish"},
		{2, "completion powershell", "bash, zsh or fish"},
		{2, "man", "the directory"},
		{2, "collector now", `takes no argument "now"`},
		{2, "version 9", `takes no argument "9"`},
		{2, "exporter --read x --options false", "--NAME=false"},
		{2, "lab demo", `takes no argument "demo"`},
		// Flags.
		{2, "exporter --activ-timeout 5", "did you mean --active-timeout?"},
		{2, "exporter --reed x", "did you mean --read?"},
		{2, "top --form -1h", "did you mean --from?"},
		{2, "exporter -z", "has no flag -z"},
		{2, "exporter -read x", "-read is written with two dashes, --read"},
		{2, "exporter -interface=eth0", "--interface"},
		{2, "exporter --=5", "is no flag"},
		{2, "exporter --pace", "--pace stands without a value: want records a second"},
		{2, "exporter -r", "--read stands without a value"},
		{2, "exporter --log-level loud -r x", "want debug, info, warn or error"},
		{2, "version --log-format xml", "want text or json"},
		{1, "version --config /nowhere/flowtally.yaml", "there is no such file"},
		{2, "migrate --reader-password= " + db, "want a password of one line"},
		// Numbers.
		{2, "exporter -r x --pace fast", "such as 100000 or 100k"},
		{2, "exporter -r x --pace -1", "such as 100000 or 100k"},
		{2, "exporter -r x --pace 99999999999999999999", "such as 100000 or 100k"},
		{2, "exporter -r x --pace 1.5", "such as 100000 or 100k"},
		{2, "exporter -r x --sample 0", "N or 1:N"},
		{2, "exporter -r x --sample 10:1", "N or 1:N"},
		{2, "exporter -r x --workers many", "a number of workers"},
		{2, "exporter -r x --mtu 60", "576 to 65535"},
		{2, "exporter -r x --mtu 1500bytes", "576 to 65535"},
		{2, "exporter -r x --domain -1", "0 to 4294967295"},
		{2, "exporter -r x --domain 70000 --version 5", "v5 has room for 0 to 65535"},
		{2, "exporter -i x --fanout 0", "1 to 256"},
		{2, "exporter -r x --max-flows 99G", "at most"},
		{2, "collector --rate-limit fast " + db, "50k"},
		{2, "collector --writers 0 " + db, "1 to 1000"},
		{2, "collector --queue none " + db, "a number of batches"},
		{2, "collector --sockets -2 " + db, "a number of sockets"},
		{2, "top --limit 0 " + db, "such as 20 or 1k"},
		{2, "top --limit ten " + db, "such as 20 or 1k"},
		{2, "top --limit 1000000 " + db, "1 to 10000"},
		{2, "series --lay-over 99 " + db, "0 to 8"},
		// Sizes, times and ages.
		{2, "exporter -i x --capture-buffer lots", "64M"},
		{2, "exporter -i x --capture-buffer 64TB", "2G at most"},
		{2, "collector --spool-size big " + db, "500M, 4G or 1T"},
		{2, "collector --retain-size -1G " + db, "500M, 4G or 1T"},
		{2, "collector --receive-buffer 0 " + db, "32M"},
		{2, "exporter -r x --active-timeout soon", "300, which is seconds"},
		{2, "exporter -r x --active-timeout 5x", "300, which is seconds"},
		{2, "exporter -r x --idle-timeout 0", "at least 1ms"},
		{2, "exporter -r x --linger -5s", "at least 1ms"},
		{2, "exporter -r x --timeout sctp=3", "tcp.rst"},
		{2, "exporter -r x --timeout tcp", "tcp.rst"},
		{2, "exporter -r x --timeout tcp=soon", "300, which is seconds"},
		{2, "collector --batch-age 1q " + db, "which is seconds"},
		{2, "collector --retain-raw 15 " + db, "12h, 15d, 2w, 1y or forever"},
		{2, "collector --retain-raw never " + db, "12h, 15d, 2w, 1y or forever"},
		{2, "top --timeout never " + db, "which is seconds"},
		{2, "web --session-idle ever --auth " + users + " " + db, "which is seconds"},
		{2, "top --from teatime " + db, "it is not a time"},
		{2, "top --from 25:00 " + db, "it is not a time"},
		{2, "top --from -6 " + db, "lacks a unit"},
		{2, "top --from 2026-02-30 " + db, "it is not a time"},
		{2, "top --from -1h --to -2h " + db, "is not before"},
		{2, "top --zone CEST " + db, "Europe/Berlin"},
		{2, "series --step weekly " + db, "1w"},
		{2, "series --lay-over 1 --period sometimes " + db, "1mo"},
		{2, "rollup --rebuild " + db, "takes --from"},
		{2, "rollup --rebuild --from today --to yesterday " + db, "is not before"},
		// Words.
		{2, "exporter -r x --version 8", "5, 9 or 10 (IPFIX)"},
		{2, "exporter -r x --version sflow", "5, 9 or 10 (IPFIX)"},
		{2, "exporter -r x --duplicates maybe", "keep or drop"},
		{2, "exporter -r x --tunnels all", "outer, inner or both"},
		{2, "exporter -r x --sample 5 --sample-mode hash", "deterministic or random"},
		{2, "exporter -r x --template nprobe", "flowtally or pflow"},
		{2, "exporter -r x --fields mac,vni", "mac, vlan, mpls"},
		{2, "exporter -r x --key ecn", "want tos"},
		{2, "exporter -r x --speed fast", "1x or 10x"},
		{2, "exporter -r x --balance=perhaps", "true or false"},
		{2, "collector --identity dns " + db, "auto, source or announced"},
		{2, "top --output xml " + db, "table, json, csv or spreadsheet"},
		{2, "inspect --read x --output csv", "table or json"},
		{2, "top --by size " + db, "flows, packets, bytes"},
		{2, "top --key src-adr " + db, "did you mean src-addr?"},
		{2, "top --having flows " + db, "--having"},
		{2, "flows --sort size " + db, "duration"},
		{2, "flows --after page2! " + db, "a page before"},
		// Addresses.
		{2, "exporter -r x --to host:port", "a port from 1 to 65535"},
		{2, "exporter -r x --to host:99999", "a port from 1 to 65535"},
		{2, "exporter -r x --to udp://host:9995", "tcp://HOST:PORT"},
		{2, "exporter -r x --to 2001:db8::1", "in brackets, as [2001:db8::1]"},
		{2, "exporter -r x --to 10.0.0.300", "HOST:PORT"},
		{2, "exporter -r x --to host:1,speed=9", "HOST:PORT["},
		{2, "exporter -r x --to host:1,version=7", "5, 9 or 10 (IPFIX)"},
		{2, "exporter -r x --to host:1,filter=prot|tcp", `did you mean "proto"`},
		{1, "exporter -r " + capture + " --to nowhere.invalid", `host "nowhere.invalid"`},
		{1, "exporter --listen-vxlan nowhere.invalid", `host "nowhere.invalid"`},
		{2, "exporter --listen-vxlan :vxlan:4789", ":4789"},
		{2, "exporter --listen-gre 0.0.0.0:47", "GRE has no ports"},
		{2, "exporter --listen-vxlan :0 --client web", "ADDRESS[/ID]=NAME"},
		{2, "exporter --listen-vxlan :0 --client 10.0.0.5/x=web", "a number of 32 bits"},
		{1, "exporter --listen-vxlan " + takenUDP.LocalAddr().String(), "in use"},
		{1, "exporter --listen-geneve 192.0.2.1:6081", "no address of this machine"},
		{2, "collector --listen http://:9995 " + db, "ADDRESS:PORT such as :9995"},
		{2, "collector --listen :netflow " + db, "a port from 0 to 65535"},
		{2, "collector --allow example.org " + db, "10.0.0.0/24"},
		{2, "collector --sampling x=1000 " + db, "10.0.0.0/8=1000"},
		{2, "collector --sampling-override 1000 " + db, "PREFIX=N"},
		{2, "web --listen 127.0.0.1:http:80 " + db, "127.0.0.1:8080"},
		{1, "collector --listen 192.0.2.1:9995 " + db, "collector: cannot listen on UDP 192.0.2.1:9995: that is no address of this machine"},
		{1, "collector --listen " + takenUDP.LocalAddr().String() + " " + db, "in use"},
		{2, "web --trust-proxy proxy " + db, "10.0.0.0/24"},
		{2, "web --allow-host http://flows.example.org " + db, "no http://"},
		{2, "web --dns https://dns.example.org " + db, "a name server"},
		{2, "exporter -r x --metrics here:now", "a port from 0 to 65535"},
		{1, "exporter -r x --metrics " + taken.Addr().String(), "in use"},
		{1, "inspect --listen 192.0.2.1:9996", "no address of this machine"},
		{2, "collector --database mysql://x@y/z", "postgres://USER:PASSWORD@HOST"},
		{2, "collector --database postgres://a:s3/kr1t@h/x", "as %XX"},
		{2, "top", "DATABASE_URL"},
		{1, "top " + db, "no PostgreSQL answers at 127.0.0.1:1"},
		// Files and interfaces.
		{1, "exporter -r /nowhere/x.pcap", "/nowhere/x.pcap: there is no such file"},
		{1, "exporter -r " + dir, "is a directory"},
		{1, "exporter -r " + text, "not a pcap or pcapng file"},
		{1, "exporter -r " + empty, "is empty"},
		{1, "exporter -i nosuch0", "there is no such interface"},
		{2, "exporter -i 3:eth1", "its own index is reported"},
		{1, "exporter -r " + text + " -F /nowhere/filter", "there is no such file"},
		{1, "exporter -r " + text + " -F " + text, "--filter-program"},
		{2, "exporter -r x --tls-ca /nowhere/ca.pem --to tls://h", "there is no such file"},
		{2, "exporter -r x --tls-cert " + key + " --tls-key " + key + " --to tls://h", "--tls-cert and --tls-key"},
		{2, "exporter -r x --tls-cert " + key + " --to tls://h", "go together"},
		{1, "collector --listen-tls 4740 --tls-cert " + key + " --tls-key " + key + " " + db, "certificate"},
		{2, "collector --listen-tls 4740 " + db, "takes --tls-cert and --tls-key"},
		{2, "web --tls-cert " + key + " " + db, "go together"},
		{1, "web --auth /nowhere/users " + db, "there is no such file"},
		{1, "web --auth " + users + " " + db, "users"},
		{1, "inspect --read " + text, "neither a capture nor messages"},
		{1, "exporter --status /nowhere/sock", "no exporter answers"},
		{1, "lab --data " + text, "notes.txt"},
		// Filters.
		{2, "exporter -r x --filter tcp|prot|80", `"prot"`},
		{2, "top tcp and and " + db, "character 9"},
		{2, "top hots 10.0.0.1 " + db, "did you mean"},
		{2, "flows src ip 10.0.0.300 " + db, "10.0.0.300"},
		{2, "events port blok " + db, "filter: character"},
		{2, "series ( tcp " + db, "filter: character"},
		// What would do nothing.
		{2, "exporter", "give one of --read FILE"},
		{2, "exporter -r x -i y", "give one of --read FILE"},
		{2, "exporter --listen-vxlan 4789 --listen-gre ::", "give one of"},
		{2, "exporter -r x --client 10.0.0.5=web", "--client does something only with --listen-vxlan"},
		{2, "exporter --listen-vxlan 4789 --known-clients", "--known-clients does something only with --client"},
		{2, "exporter -r x --promiscuous=false", "--promiscuous does something only with --interface"},
		{2, "exporter -r x --capture-buffer 64", "--capture-buffer does something only with"},
		{2, "exporter -r x --capture-no-ring", "only with --interface"},
		{2, "exporter -r x --fanout 2", "only with --interface"},
		{2, "exporter -i x --speed 10x", "only with --read"},
		{2, "exporter -i x --shift-to-now", "only with --read"},
		{2, "exporter -i x --fanout 2 --workers 2", "--workers does something only without --fanout"},
		{2, "exporter -i x --in-if 3", "a number of its own"},
		{2, "exporter -r x --state y", "only with --demo"},
		{2, "exporter -r x --sample-mode random", "only with --sample"},
		{2, "exporter -r x --balance", "only with several --to"},
		{2, "exporter -r x --tls-ca " + key, "only with --to tls://"},
		{2, "exporter -r x --timeout general=60 --idle-timeout 30", "which say the same"},
		{2, "exporter -r x --timeout softflowd --active-timeout 30", "which say the same"},
		{2, "exporter -r x --to h:1 --to h:1", "h:1 is given twice"},
		{2, "exporter -r x --to h --to h:9995,version=9", "--to h:9995 is given twice"},
		{2, "exporter -r x -n h:1,h:1", "h:1 is given twice"},
		{2, "exporter -r x -r y", `want one value, and "x" is given, too`},
		{2, "exporter -r x --filter tcp -F y", "give one of --filter and -F"},
		{2, "exporter -r x --fields mac --version 5", "9 or 10"},
		{2, "exporter -r x --balance --to a:1,filter=tcp --to b:1", "want one of them"},
		{2, "exporter -r x --metrics-allow-host y", "only with --metrics"},
		{2, "exporter --status /nowhere/sock --pace 5", "--pace does nothing beside --status"},
		{2, "collector --tls-ca x " + db, "only with --listen-tls"},
		{2, "collector --max-connections 5 " + db, "only with --listen-tcp or --listen-tls"},
		{2, "collector --idle-timeout 5 " + db, "only with --listen-tcp or --listen-tls"},
		{2, "collector --listen-tcp 4739 --sockets 2 " + db, "only with --listen"},
		{2, "collector --spool none --spool-size 5G " + db, "only with a spool"},
		{2, "collector --keeper=false --retain-raw 5d " + db, "only with a keeper"},
		{2, "collector --listen 9995 --listen :9995 " + db, ":9995 is given twice"},
		{2, "collector --listen a=:9995 --listen b=:9995 " + db, "UDP :9995 is given twice"},
		{2, "collector --listen :9995 --listen b=:9995 " + db, "UDP :9995 is given twice"},
		{2, "collector --listen-tcp 4739 --listen-tls :4739 --tls-cert x --tls-key y " + db, "TCP :4739 is given twice"},
		{2, "collector --allow 10.0.0.1,10.0.0.1 " + db, "is given twice"},
		{2, "collector --sampling 10 --sampling 20 " + db, "1:10 is given for the same exporters"},
		{2, "exporter --listen-vxlan 4789 --client 10.0.0.5=a --client 10.0.0.5=b", "another name already"},
		{2, "exporter -r x --timeout softflowd --linger 9", "which say the same"},
		{2, "web --insecure --auth " + users + " " + db, "only without --auth"},
		{2, "web --proxy-role-header X-Role " + db, "only with --trust-proxy"},
		{2, "web --secure-cookies " + db, "only with --auth or --trust-proxy"},
		{2, "web --session-life 5h " + db, "only with --auth"},
		{2, "web --no-dns --dns 192.0.2.53 " + db, "only without --no-dns"},
		{2, "exporter --read x --options=false --name edge", "--options=false"},
		{2, "exporter --read x --name 192.0.2.1", "no address"},
		{2, "collector --listen 192.0.2.1=:9995 " + db, "NAME=ADDRESS"},
		{2, "top --explain --output json " + db, "only without --explain"},
		{2, "series --limit 5 " + db, "only with --key"},
		{2, "series --having flows>5 " + db, "only with --key"},
		{2, "series --period 1w " + db, "only with --lay-over"},
		{2, "series --share --key port " + db, "only without --share"},
		{2, "series --share --by bytes " + db, "only without --share"},
		{2, "flows --no-summary --raw " + db, "only without --no-summary"},
		{2, "rollup --from today " + db, "only with --rebuild"},
		{2, "inspect", "either --listen or --read"},
		{2, "inspect -r x --listen 9996", "either --listen or --read"},
		{1, "lab --demo --read x", "exclude each other"},
		{1, "web --listen 0.0.0.0:8080 " + db, "127.0.0.1:1"},
	} {
		t.Run(strings.ReplaceAll(tt.call, "/", "_"), func(t *testing.T) {
			args := strings.Fields(tt.call)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "|", " ")
			}
			var stdout, stderr bytes.Buffer
			status := Run(context.Background(), "", args, &stdout, &stderr)
			if status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			if stdout.Len() > 0 && args[0] != "lab" {
				t.Errorf("standard output is not empty: %q", stdout.String())
			}
			var last string
			for l := range strings.Lines(stderr.String()) {
				if !strings.HasPrefix(l, "time=") { // the log of what is being done
					last += l
				}
			}
			if strings.Count(last, "\n") != 1 || !strings.HasPrefix(last, "flowtally: ") || !strings.Contains(last, tt.says) {
				t.Errorf("it said %q, want one sentence with %q", last, tt.says)
			}
			sentenceLaws(t, tt.call, strings.TrimSuffix(last, "\n"))
			if strings.Contains(stderr.String(), "s3kr1t") || strings.Contains(stderr.String(), "s3/kr1t") {
				t.Error("a password is in the message")
			}
		})
	}
}
