#!/usr/bin/env bash
# Finds the highest rate of flows that the collector makes durable in PostgreSQL
# without losing one, with generator, collector and database on this machine, and
# holds it. Then the same for pmacct's nfacctd, where it is installed.
#
#   deploy/bench-collector.sh [rate …]      flows/s to try, rising
#
#   STEP=15    seconds a step takes          HOLD=60   seconds the best is held
#   ROLLUPS=0  without the roll-ups          BATCH, WRITERS, QUEUE  the collector's flags
#   STEADY=200000  the rate at which roll-ups are to keep up, held for HOLD seconds first; 0: not
#   BURST=500000   the rate after which they are to catch up, held for HOLD seconds; 0: not
#   PEER=0     without nfacctd               FLOWTALLY=FILE  a binary, else one is built
#   COLLECTOR_FLAGS="…"    more flags of the collector
#
# The server is private: see bench-server.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
work='' dsn='' pgbin='' server=''
. deploy/bench-server.sh

STEP=${STEP:-15} HOLD=${HOLD:-60} ROLLUPS=${ROLLUPS:-1} PEER=${PEER:-1} STEADY=${STEADY:-200000} BURST=${BURST:-500000}
BATCH=${BATCH:-} WRITERS=${WRITERS:-} QUEUE=${QUEUE:-}
rates=("$@")
[ ${#rates[@]} -gt 0 ] || rates=(200000 300000 400000 450000 500000 550000 600000 650000 700000 750000 800000)

have_server
work_dir

child='' blast=''
# shellcheck disable=SC2317 # by way of the trap
finish() {
	local pid
	for pid in $blast; do
		kill -TERM "$pid" 2>/dev/null || true
	done
	[ -z "$child" ] || stop_child INT
	stop_server
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Building.
generator
if [ -n "${FLOWTALLY:-}" ]; then
	cp "$FLOWTALLY" "$work/flowtally"
else
	go build -trimpath -o "$work/flowtally" .
fi

start_server
sql 'create database pmacct'
"$work/flowtally" migrate --database "$dsn" 2>"$work/migrate.log"

hz=$(getconf CLK_TCK)
# ticks PID …: CPU time, in ticks, of processes that are there.
ticks() {
	local pid sum=0 line
	for pid in "$@"; do
		line=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
		line=${line##*) }
		# shellcheck disable=SC2086
		set -- $line
		sum=$((sum + ${12} + ${13}))
	done
	echo "$sum"
}
# The server's: of its processes, and of those that have ended.
server_ticks() {
	local line
	line=$(cat "/proc/$server/stat")
	line=${line##*) }
	# shellcheck disable=SC2086
	set -- $line
	# shellcheck disable=SC2046
	echo $(($(ticks "$server" $(pgrep -P "$server")) + ${14} + ${15}))
}
rss() { awk '/^VmHWM/ { printf "%d", $2 / 1024 }' "/proc/$1/status" 2>/dev/null || echo 0; }
metric() { curl -s "http://127.0.0.1:$metrics/metrics" | awk -v n="$1" '$1 ~ "^"n"([{]|$)" { s += $2 } END { printf "%.0f", s }'; }

start_flowtally() {
	port=$(free_port SOCK_DGRAM) metrics=$(free_port SOCK_STREAM)
	local flags=()
	[ -z "$BATCH" ] || flags+=(--batch "$BATCH")
	[ -z "$WRITERS" ] || flags+=(--writers "$WRITERS")
	[ -z "$QUEUE" ] || flags+=(--queue "$QUEUE")
	local help
	help=$("$work/flowtally" collector --help)
	if [[ $help == *--spool* ]]; then
		flags+=(--spool "$work/spool")
	fi
	if [ "$ROLLUPS" = 0 ] && [[ $help == *--keeper* ]]; then
		flags+=(--keeper=false)
	fi
	# shellcheck disable=SC2086
	"$work/flowtally" collector --listen "127.0.0.1:$port" --database "$dsn" --metrics "127.0.0.1:$metrics" "${flags[@]}" ${COLLECTOR_FLAGS:-} 2>"$work/collector.log" &
	child=$!
	for _ in $(seq 100); do
		curl -sf "http://127.0.0.1:$metrics/healthz" >/dev/null && grep -q 'listening\|udp' "$work/collector.log" && break
		sleep 0.1
	done
}
# stop_child [SIGNAL]: asks it to end, and makes it after half a minute.
stop_child() {
	local n=300
	kill "-${1:-TERM}" "$child" 2>/dev/null || true
	while [ $((n--)) -gt 0 ] && [ "$(awk '/^State/ { print $2 }' "/proc/$child/status" 2>/dev/null || echo Z)" != Z ]; do
		sleep 0.1
	done
	kill -KILL "$child" 2>/dev/null || true
	wait "$child" 2>/dev/null || true
	child=''
}

# The age of the oldest batch that the roll-ups do not have, in seconds.
age() { sql 'select coalesce(ceil(extract(epoch from clock_timestamp() - min(committed_at))), 0)::int from batches where summed_at is null' flowtally 2>/dev/null || echo 0; }
# Writes how far the roll-ups are behind into a file, every second, until it ends.
watch_rollups() {
	local worst=0 now
	while [ -n "$blast" ] && kill -0 "$blast" 2>/dev/null; do
		now=$(age)
		[ "$now" -le "$worst" ] || worst=$now
		echo "$worst" >"$work/behind"
		sleep 1
	done
}
# catch_up: waits until the roll-ups have everything, 15 minutes at most. Sets took.
catch_up() {
	local t=$SECONDS
	while [ "$(sql 'select count(*) from batches where summed_at is null' flowtally)" -gt 0 ] && [ $((SECONDS - t)) -lt 900 ]; do sleep 0.5; done
	took=$((SECONDS - t))
}
# rolled NAME RATE: a run, and how the roll-ups fared.
rolled() {
	local name=$1 rate=$2 a b c
	catch_up
	a=$(ticks "$child") b=$(server_ticks) c=$(metric flowtally_keeper_sum_seconds_total)
	run "$rate" "$HOLD"
	local behind
	behind=$(cat "$work/behind" 2>/dev/null || echo 0)
	catch_up
	a=$(($(ticks "$child") - a)) b=$(($(server_ticks) - b)) c=$(($(metric flowtally_keeper_sum_seconds_total) - c))
	echo "flowtally  roll-ups, $name $rate flows/s: at most $behind s behind while it lasted, caught up $took s after; $c s of summing; CPU µs/flow with that: collector $(awk -v a="$a" -v hz="$hz" -v n="$sent" 'BEGIN { printf "%.2f", a / hz / n * 1e6 }'), PostgreSQL $(awk -v a="$b" -v hz="$hz" -v n="$sent" 'BEGIN { printf "%.2f", a / hz / n * 1e6 }')"
}

# run RATE SECONDS: one run through flowtally. Sets sent and lost, prints a line.
run() {
	local rate=$1 n=$(($1 * $2)) a b c before stored last='' wait=0 t0 t1
	before=$(metric flowtally_collector_stored_records_total)
	a=$(ticks "$child") b=$(server_ticks)
	t0=$(date +%s%N)
	"$work/flowblast" -to "127.0.0.1:$port" -n "$n" -rate "$rate" >"$work/blast.log" &
	blast=$!
	local watcher=''
	if [ "$ROLLUPS" != 0 ]; then
		echo 0 >"$work/behind"
		watch_rollups &
		watcher=$!
	fi
	c=0
	while kill -0 "$blast" 2>/dev/null; do
		c=$(ticks "$blast")
		sleep 0.2
	done
	wait "$blast" || true
	blast=''
	t1=$(date +%s%N)
	sent=$(awk '{ print $2 }' "$work/blast.log")
	got=$(awk '{ print $(NF - 1) }' "$work/blast.log")
	[ -z "$watcher" ] || wait "$watcher" || true
	# Until nothing more comes: also what waits in the spool.
	while [ "$wait" -lt 8 ]; do
		stored="$(metric flowtally_collector_stored_records_total) $(metric flowtally_store_records_total) $(metric flowtally_store_spool_batches)"
		if [ "$stored" = "$last" ]; then wait=$((wait + 1)); else wait=0; fi
		last=$stored
		sleep 0.25
	done
	local behind=$((($(date +%s%N) - t1) / 1000000 - 2000))
	local spooled
	spooled=$(metric flowtally_store_spooled_records_total)
	stored=$(($(metric flowtally_collector_stored_records_total) - before))
	lost=$((sent - stored))
	a=$(($(ticks "$child") - a)) b=$(($(server_ticks) - b))
	awk -v r="$got" -v n="$sent" -v lost="$lost" -v a="$a" -v b="$b" -v c="$c" -v hz="$hz" -v rss="$(rss "$child")" -v behind="$behind" -v sp="$spooled" -v s=$(((t1 - t0) / 1000000)) \
		'BEGIN { printf "flowtally  %8d flows/s for %5.1f s: lost %d of %d (%.2f %%); CPU µs/flow: collector %.2f, PostgreSQL %.2f, generator %.2f; collector %d MB; %.1f s behind at the end; %d spooled so far\n",
			r, s / 1000, lost, n, 100 * lost / n, a / hz / n * 1e6, b / hz / n * 1e6, c / hz / n * 1e6, rss, behind / 1000, sp }'
}

echo "cores: $(nproc), PostgreSQL: $("$pgbin/postgres" -V | awk '{ print $3 }'), rmem_max: $(cat /proc/sys/net/core/rmem_max 2>/dev/null || echo ?)"
best=0
start_flowtally
run 20000 2 >/dev/null # wakes everything up
if [ "$ROLLUPS" != 0 ]; then
	[ "$STEADY" = 0 ] || rolled steady "$STEADY"
	[ "$BURST" = 0 ] || rolled "a burst of" "$BURST"
fi
for rate in "${rates[@]}"; do
	run "$rate" "$STEP"
	if [ "$lost" -gt 0 ]; then
		break
	fi
	# What it reached, when the generator itself cannot keep up.
	best=$((got < rate ? got : rate))
	[ "$got" -ge $((rate * 97 / 100)) ] || break
done
held=0
while [ "$best" -gt 0 ] && [ "$HOLD" -gt 0 ]; do
	echo "holding $best flows/s for $HOLD s"
	run "$best" "$HOLD"
	if [ "$lost" = 0 ]; then
		held=$best
		break
	fi
	best=$((best * 93 / 100))
done
rows=$(sql 'select count(*) from flows' flowtally)
claimed=$(sql 'select coalesce(sum(records), 0) from batches' flowtally)
echo "flowtally  rows in PostgreSQL: $rows, claimed by its batches: $claimed"
[ "$rows" = "$claimed" ] || { echo "bench-collector: rows and batches disagree"; exit 1; }
if [ "$ROLLUPS" != 0 ]; then
	open=$(sql 'select count(*) from batches where summed_at is null' flowtally)
	if [ "$(sql 'select exists (select from batches where summed_at is not null)' flowtally)" = t ]; then
		catch_up
		echo "flowtally  roll-ups: $open batches were open, caught up after $took s"
	else
		echo "flowtally  roll-ups: none are made by this collector"
	fi
fi
stop_child
echo "flowtally  best lossless rate held: $held flows/s"

[ "$PEER" != 0 ] || exit 0
if ! command -v nfacctd >/dev/null; then
	echo "nfacctd    is not installed: left out"
	exit 0
fi
sql 'drop database flowtally (force)'
sql 'create table acct (ip_src inet, ip_dst inet, port_src int, port_dst int, ip_proto smallint, tcp_flags smallint, packets bigint, bytes bigint, flows bigint, stamp_inserted timestamp, stamp_updated timestamp)' pmacct
nport=$(free_port SOCK_DGRAM)
cat >"$work/nfacctd.conf" <<CONF
daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: $nport
nfacctd_pipe_size: 33554432
plugins: pgsql[p]
aggregate[p]: src_host, dst_host, src_port, dst_port, proto, tcpflags
plugin_pipe_size[p]: 134217728
plugin_buffer_size[p]: 134217
sql_host[p]: $work/pg
sql_db[p]: pmacct
sql_user[p]: flowtally
sql_passwd[p]: x
sql_table[p]: acct
sql_table_version[p]: 9
sql_refresh_time[p]: 5
sql_dont_try_update[p]: true
sql_use_copy[p]: true
sql_optimize_clauses[p]: true
sql_cache_entries[p]: 4000037
CONF
peer_best=0
for rate in 100000 150000 200000 250000 300000 350000 400000 500000; do
	sql 'truncate acct' pmacct
	nfacctd -f "$work/nfacctd.conf" >"$work/nfacctd.log" 2>&1 &
	child=$!
	sleep 2
	n=$((rate * STEP)) b=$(server_ticks)
	"$work/flowblast" -to "127.0.0.1:$nport" -n "$n" -rate "$rate" >"$work/blast.log"
	sent=$(awk '{ print $7 }' "$work/blast.log") # packets: equal flows are one row
	last='' same=0
	while [ "$same" -lt 8 ]; do # its refresh is every 5 s
		stored=$(sql 'select coalesce(sum(packets), 0) from acct' pmacct)
		if [ "$stored" = "$last" ] && { [ "$stored" -gt 0 ] || [ "$same" -lt 7 ]; }; then same=$((same + 1)); else same=0; fi
		last=$stored
		sleep 1
	done
	# shellcheck disable=SC2046
	cpu=$(ticks "$child" $(pgrep -P "$child"))
	awk -v rate="$rate" -v sent="$sent" -v got="$stored" -v n="$n" -v hz="$hz" -v cpu="$cpu" -v b=$(($(server_ticks) - b)) \
		'BEGIN { printf "nfacctd    %8d flows/s: lost %.2f %% of the packets; CPU µs/flow: nfacctd at least %.2f, PostgreSQL %.2f\n", rate, 100 * (sent - got) / sent, cpu / hz / n * 1e6, b / hz / n * 1e6 }'
	stop_child INT
	# In its favour: what a run loses at its edges is forgiven.
	awk -v a="$sent" -v b="$stored" 'BEGIN { exit !(b >= 0.999 * a) }' || break
	peer_best=$rate
done
echo "nfacctd    best rate with less than 0.1 % lost: $peer_best flows/s"
[ "$peer_best" = 0 ] || awk -v a="$held" -v b="$peer_best" 'BEGIN { printf "flowtally holds %.1f times what nfacctd does\n", a / b }'
