#!/usr/bin/env bash
# What dashboards cost the collector: the same rate of flows into the same database
# twice, once alone, and once while three viewers look at the console and the
# collector's keeper seals one hour of flows and removes another. Generator,
# collector, database, console and viewers are on this machine.
#
#   deploy/bench-ingest.sh
#
#   RATE=400000    flows/s that are sent: near what the machine takes
#   HOLD=60        seconds for which they are
#   OLD=1000000    flows in each of the two past hours, at most
#   EVERY=2        seconds between two looks of a viewer
#   FLOWTALLY=FILE a binary, else one is built
#
# The server is private: see bench-server.sh. The exit status is 1 when less than
# 80 % of the rate is left, 77 when it was skipped, of which the last line says why.
set -euo pipefail
cd "$(dirname "$0")/.."
work='' dsn=''
. deploy/bench-server.sh
RATE=${RATE:-400000} HOLD=${HOLD:-60} OLD=${OLD:-1000000} EVERY=${EVERY:-2}

have_server
work_dir
child='' blast='' page='' viewers=''
# shellcheck disable=SC2317 # by way of the trap
finish() {
	local pid
	for pid in $viewers $blast $page; do kill -TERM "$pid" 2>/dev/null || true; done
	[ -z "$child" ] || stop_collector
	stop_server
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

generator
if [ -n "${FLOWTALLY:-}" ]; then
	cp "$FLOWTALLY" "$work/flowtally"
else
	go build -trimpath -o "$work/flowtally" .
fi
go test -c -o "$work/load" ./store
start_server
"$work/flowtally" migrate --database "$dsn" 2>"$work/migrate.log"

metric() { curl -s "http://127.0.0.1:$metrics/metrics" | awk -v n="$1" '$1 ~ "^"n"([{]|$)" { s += $2 } END { printf "%.0f", s }'; }
start_collector() {
	port=$(free_port SOCK_DGRAM) metrics=$(free_port SOCK_STREAM)
	# A day is kept, so that the older of the two hours is due.
	"$work/flowtally" collector --listen "127.0.0.1:$port" --database "$dsn" --metrics "127.0.0.1:$metrics" --spool "$work/spool" \
		--retain-raw 24h 2>>"$work/collector.log" &
	child=$!
	for _ in $(seq 100); do
		curl -sf "http://127.0.0.1:$metrics/healthz" >/dev/null && break
		sleep 0.1
	done
}
stop_collector() {
	kill -TERM "$child" 2>/dev/null || true
	wait "$child" 2>/dev/null || true
	child=''
}

# load HOURS-AGO: OLD flows of a past hour, stored and summed, but not sealed.
load() {
	FLOWTALLY_BENCH_LOAD=$dsn FLOWTALLY_BENCH_FROM=$(date -u -d "$1 hours ago" +%Y-%m-%dT%H:00:01Z) FLOWTALLY_BENCH_FLOWS=$OLD \
		"$work/load" -test.run '^TestLoadForBench$' >"$work/load.log" || { cat "$work/load.log"; exit 1; }
}

# run: RATE flows/s for HOLD seconds. Sets sent, stored (in PostgreSQL when the last
# was sent), lost, spooled, reached (flows/s that were sent) and behind.
run() {
	local before spool_before t0 t1 last='' now same=0
	before=$(metric flowtally_store_records_total) spool_before=$(metric flowtally_store_spooled_records_total)
	t0=$(date +%s%N)
	"$work/flowblast" -to "127.0.0.1:$port" -n $((RATE * HOLD)) -rate "$RATE" >"$work/blast.log" &
	blast=$!
	wait "$blast"
	blast=''
	stored=$(($(metric flowtally_store_records_total) - before))
	t1=$(date +%s%N)
	[ -z "$viewers" ] || { touch "$work/enough"; for v in $viewers; do wait "$v" || true; done; viewers=''; }
	sent=$(awk '{ print $2 }' "$work/blast.log")
	while [ $same -lt 12 ]; do
		now="$(metric flowtally_store_records_total) $(metric flowtally_store_spool_batches)"
		if [ "$now" = "$last" ]; then same=$((same + 1)); else same=0; fi
		last=$now
		sleep 0.25
	done
	behind=$((($(date +%s%N) - t1) / 1000000000 - 3))
	spooled=$(($(metric flowtally_store_spooled_records_total) - spool_before))
	lost=$((sent - ($(metric flowtally_store_records_total) - before)))
	reached=$((sent * 1000 / ((t1 - t0) / 1000000)))
	rate=$((stored * 1000 / ((t1 - t0) / 1000000)))
}
say() { printf '%-28s sent %7d/s, stored %7d/s meanwhile, all of it %d s after; lost %d of %d, spooled %d\n' "$1" "$reached" "$rate" "$behind" "$lost" "$sent" "$spooled"; }

# viewer N: the questions of the overview and of explore, every EVERY seconds, over
# HTTP; writes how long each took, in seconds.
viewer() {
	local day hour q at
	while [ ! -e "$work/enough" ]; do
		at=$(date +%s)
		hour="from=-1h&to=now" day="from=-24h&to=now"
		for q in "series?$hour&key=protocol&by=flows&limit=6" "top?$hour&key=src-addr&by=flows" "top?$hour&key=dst-addr&by=packets" "top?$hour&key=dst-port&by=bytes" \
			"summary?$hour" "share?$hour" "series?$day&key=dst-port&by=bytes&limit=6" "top?$day&key=addr&by=bytes"; do
			[ ! -e "$work/enough" ] || break
			curl -s -m 60 -o "$work/answer.$1" -w "%{http_code} %{time_total} ${q%%\?*}\n" "http://127.0.0.1:$page_port/api/v1/$q" >>"$work/polls.$1" || true
		done
		while [ $(($(date +%s) - at)) -lt "$EVERY" ] && [ ! -e "$work/enough" ]; do sleep 0.2; done
	done
}

state() { sql "select (select count(*) from parts.partition where sealed_at is not null), coalesce((select max(cut_before)::text from parts.reach where source = 'flows'), '')" flowtally; }

start_collector
warm=$RATE RATE=20000 hold=$HOLD HOLD=2
run # wakes everything up, and makes the partition
RATE=$warm HOLD=$hold
run
say alone
alone=$rate alone_lost=$lost
# The next collector finds two hours to seal, of which it removes one.
stop_collector
load 3
load 30
before=$(state)
page_port=$(free_port SOCK_STREAM)
"$work/flowtally" web --listen "127.0.0.1:$page_port" --database "$dsn" 2>"$work/web.log" &
page=$!
for _ in $(seq 100); do
	curl -sf "http://127.0.0.1:$page_port/api/v1/me" >/dev/null && break
	sleep 0.1
done
start_collector
for n in 1 2 3; do
	viewer $n &
	viewers="$viewers $!"
done
run
say "polled, sealing and removing"
after=$(state)
kill -TERM "$page" 2>/dev/null || true
page=''
cat "$work"/polls.* >"$work/polls"
polls=$(wc -l <"$work/polls")
refused=$(awk '$1 != 200' "$work/polls" | wc -l)
sealed=$(metric flowtally_keeper_sealed_partitions_total) removed=$(metric flowtally_keeper_removed_partitions_total)
echo "hours sealed and where removal has cut to: $before before, $after after; put off because of readers $(metric flowtally_keeper_waits_total) times"
[ "$sealed" -gt 0 ] && [ "$removed" -gt 0 ] || echo "bench-ingest: it sealed $sealed and removed $removed hours: this run does not show what it is to show; a longer HOLD, or quicker questions"
at() { awk '$1 == 200 { print $2 * 1000 }' "$work/polls" | sort -n | awk -v p="$1" '{ v[NR] = $1 } END { if (NR) printf "%.0f", v[int((NR - 1) * p / 100) + 1]; else printf "?" }'; }
[ "$refused" = 0 ] || awk '$1 != 200 { n[$1 " " $3]++ } END { for (k in n) print "polls: status and question " k ", " n[k] " times" }' "$work/polls"
echo "polls: $polls, of which $refused were not answered; p50 $(at 50) ms, p95 $(at 95) ms, worst $(at 100) ms"
rows=$(sql 'select count(*) from flows' flowtally) claimed=$(sql 'select coalesce(sum(b.records), 0) from batches b where exists (select from parts.partition p where p.hour <= b.max_end and p.hour > b.min_end - interval '"'1 hour'"')' flowtally)
[ "$rows" = "$claimed" ] || { echo "bench-ingest: $rows rows are in PostgreSQL, its batches claim $claimed"; exit 1; }
stop_collector
echo
awk -v a="$alone" -v b="$rate" -v la="$alone_lost" -v lb="$lost" -v p="$(at 95)" -v q="$(at 50)" -v r="$RATE" -v s="$sealed" -v d="$removed" 'BEGIN {
	printf "RESULTS ingest of %d flows/s: alone %d stored/s (%d lost), polled, %d hours sealed and %d removed, %d stored/s (%d lost): %.0f %%; polls p50 %s ms, p95 %s ms\n", r, a, la, s, d, b, lb, 100 * b / a, q, p
	exit b < 0.8 * a }'
