#!/usr/bin/env bash
# Meters one capture with softflowd, nfpcapd, pmacctd and flowtally exporter, one
# after the other in rounds, and prints wall time, processor time and memory of
# each one's best round, and the ratios. What is not installed is left out.
#
#   PACKETS=10000000 FLOWS=500000   the capture that pcapgen makes
#   CAPTURE=FILE                    one that is there already
#   ROUNDS=3                        how often each runs
#   FLAGS="--workers 2"             more flags for flowtally exporter
#   BINARY=./flowtally              a binary that is built already
#
# pcapgen is the generator of FLOWTALLY_SHARED/bench, by default ../shared/bench.
# Exit status 77: skipped, the last line says why.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/go/bin
packets=${PACKETS:-10000000} flows=${FLOWS:-500000} rounds=${ROUNDS:-3}
bench=${FLOWTALLY_SHARED:-$PWD/../shared}/bench

clock=$(type -P time || true)
if [ -z "$clock" ]; then
	echo "bench-exporter: the program time is not installed (package time)"
	exit 77
fi
tmp=$(mktemp -d)
sink=
finish() {
	if [ -n "$sink" ]; then
		kill "$sink" 2>/dev/null || true
		wait "$sink" 2>/dev/null || true
	fi
	rm -rf "$tmp"
}
trap finish EXIT

capture=${CAPTURE:-}
if [ -z "$capture" ]; then
	if [ ! -d "$bench/pcapgen" ]; then
		echo "bench-exporter: no generator in $bench (set FLOWTALLY_SHARED or CAPTURE)"
		exit 77
	fi
	(cd "$bench" && go build -o "$tmp/pcapgen" ./pcapgen)
	capture=$tmp/capture.pcap
	"$tmp/pcapgen" -p "$packets" -f "$flows" -o "$capture" >/dev/null
fi
binary=${BINARY:-}
if [ -z "$binary" ]; then
	binary=$tmp/flowtally
	go build -trimpath -ldflags '-s -w' -o "$binary" .
fi

# A collector that reads and forgets, for all of them.
mkdir "$tmp/sink"
cat >"$tmp/sink/main.go" <<'GO'
package main

import (
	"fmt"
	"net"
)

func main() {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	fmt.Println(c.LocalAddr().(*net.UDPAddr).Port)
	for b := make([]byte, 65536); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}
GO
go build -o "$tmp/discard" "$tmp/sink/main.go"
"$tmp/discard" >"$tmp/port" &
sink=$!
for _ in $(seq 100); do
	[ -s "$tmp/port" ] && break
	sleep 0.1
done
port=$(cat "$tmp/port")

cat >"$tmp/pmacctd.conf" <<CONF
daemonize: false
plugins: nfprobe
pcap_savefile: $capture
nfprobe_receiver: 127.0.0.1:$port
nfprobe_version: 9
nfprobe_maxflows: 3000000
plugin_buffer_size: 1024000
plugin_pipe_size: 102400000
aggregate: src_host, dst_host, src_port, dst_port, proto, tos
CONF

# measure NAME COMMAND…: one run; its line goes into NAME.times.
measure() {
	local name=$1
	shift
	cat "$capture" >/dev/null # in memory for all of them
	if ! "$clock" -o "$tmp/one" -f '%e %U %S %M' "$@" >"$tmp/$name.log" 2>&1; then
		echo "bench-exporter: $name failed:" >&2
		tail -3 "$tmp/$name.log" >&2
		return 0
	fi
	tail -1 "$tmp/one" >>"$tmp/$name.times"
}

names=(flowtally)
for peer in softflowd nfpcapd pmacctd; do
	if command -v "$peer" >/dev/null; then names+=("$peer"); else echo "$peer is not installed"; fi
done
for _ in $(seq "$rounds"); do
	for name in "${names[@]}"; do
		case $name in
		flowtally)
			# shellcheck disable=SC2086
			measure flowtally "$binary" exporter --read "$capture" --pace 0 --to "127.0.0.1:$port" --json ${FLAGS:-}
			;;
		softflowd) measure softflowd softflowd -r "$capture" -n "127.0.0.1:$port" -v 9 -m 3000000 -d ;;
		nfpcapd)
			mkdir "$tmp/nfpcapd"
			measure nfpcapd nfpcapd -r "$capture" -w "$tmp/nfpcapd" -e 300,60
			rm -rf "$tmp/nfpcapd"
			;;
		pmacctd) measure pmacctd pmacctd -f "$tmp/pmacctd.conf" ;;
		esac
	done
done

echo
tail -1 "$tmp/flowtally.log" | tr ',{' '\n\n' | grep -E '^"(packets|bytes|flows|records|not_sent)":' | tr '\n' ' ' || true
echo
printf '%-12s %9s %9s %9s %10s   %s\n' '' 'wall s' 'user s' 'system s' 'memory MB' 'flowtally is'
ours=$(sort -n "$tmp/flowtally.times" | head -1)
for name in "${names[@]}"; do
	[ -s "$tmp/$name.times" ] || continue
	sort -n "$tmp/$name.times" | head -1 | awk -v name="$name" -v ours="$ours" '{
		split(ours, o, " ")
		ratio = name == "flowtally" ? "" : sprintf("%.1f times as fast, with %.2f of the memory", $1 / o[1], o[4] / $4)
		printf "%-12s %9.2f %9.2f %9.2f %10.0f   %s\n", name, $1, $2, $3, $4 / 1024, ratio
	}'
done
