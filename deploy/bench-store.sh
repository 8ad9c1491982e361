#!/usr/bin/env bash
# Loads the same flows into nfdump's files and into our tables, and times questions
# side by side on them, as whole processes; then a dashboard's questions in one
# process, over ranges of an hour to thirty days; then what such dashboards cost the
# collector (bench-ingest.sh). A summary comes last, under RESULTS.
#
#   make bench-store                      all of it, 20 million flows, some 20 minutes
#   FLOWS=1000000 RUNS=2 INGEST=0 deploy/bench-store.sh      a small one
#
#   FLOWS=20000000  flows, over the 24 hours of 2026-11-20
#   RUNS=3          how often each question is asked side by side; the best counts
#   SIDE=0          without nfdump           ASK=0     without the dashboard's questions
#   INGEST=0        without bench-ingest.sh  KEEP=1    leave the database's directory
#   LIMIT=60        seconds for one question; slower ones are left out of the ratios
#   DATABASE_URL    an empty database that its user may migrate, in place of a private server
#   DAY=DIR         nfdump's files of these flows, with DATABASE_URL: nothing is loaded
#
# The server is private, unless DATABASE_URL says another: see bench-server.sh. What
# matters beside its settings is that the flows (130 octets each) fit in the machine's
# memory, for both sides alike, and that nothing else runs. Sends to loopback only.
# Ctrl-C ends all of it, and removes what was made. Exit status 77: skipped, the last
# line says why.
set -euo pipefail
cd "$(dirname "$0")/.."
work='' dsn=''
. deploy/bench-server.sh
FLOWS=${FLOWS:-20000000} RUNS=${RUNS:-3} SIDE=${SIDE:-1} ASK=${ASK:-1} INGEST=${INGEST:-1} KEEP=${KEEP:-0} LIMIT=${LIMIT:-60} DAY=${DAY:-}

for need in nfdump nfcapd psql curl python3; do
	command -v $need >/dev/null || skip "$need is not installed"
done
[ -n "${DATABASE_URL:-}" ] || have_server
work_dir
nfcapd='' part=''
# shellcheck disable=SC2317 # by way of the trap
finish() {
	local pid
	for pid in $part $nfcapd; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	stop_server
	if [ "$KEEP" = 1 ]; then echo "left: $work"; else rm -rf "$work"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

began=$SECONDS
say() { printf '== %3d:%02d %s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$*"; }
# waited COMMAND…: in the background, so that a signal finds us waiting and not the
# command, which is then ended.
waited() {
	"$@" &
	part=$!
	local rc=0
	wait "$part" || rc=$?
	part=''
	return $rc
}

say building
if [ -n "${FLOWTALLY:-}" ]; then cp "$FLOWTALLY" "$work/flowtally"; else go build -trimpath -o "$work/flowtally" .; fi
go test -c -o "$work/store.test" ./store
if [ -n "${DATABASE_URL:-}" ]; then dsn=$DATABASE_URL; else start_server; fi
export DATABASE_URL=$dsn
query() { psql -qAtX "$DATABASE_URL" -c "$1"; }

"$work/flowtally" migrate 2>"$work/migrate.log" || { cat "$work/migrate.log"; exit 1; }

if [ -z "$DAY" ]; then
	# The load generator's flows: our tables get them by COPY, nfcapd the same over
	# loopback.
	DAY=$work/nfdump
	mkdir "$DAY"
	port=$(free_port SOCK_DGRAM)
	nfcapd -w "$DAY" -p "$port" -b 127.0.0.1 -B 20000000 -t 3600 >"$work/nfcapd.log" 2>&1 &
	nfcapd=$!
	sleep 1
	say "loading $FLOWS flows"
	FLOWTALLY_BENCH_LOAD=$DATABASE_URL FLOWTALLY_BENCH_NFCAPD=127.0.0.1:$port FLOWTALLY_BENCH_FLOWS=$FLOWS \
		waited "$work/store.test" -test.run '^TestLoadForBench$' -test.timeout 1h >"$work/load.log" 2>&1 || { cat "$work/load.log"; exit 1; }
	sleep 3
	kill "$nfcapd"
	wait "$nfcapd" 2>/dev/null || true
	nfcapd=''
	say "summing, settling and sealing"
	waited "$work/flowtally" rollup
	query 'vacuum analyze' 2>/dev/null || true
fi
echo "nfdump has $(nfdump -R "$DAY" -I 2>/dev/null | sed -n 's/^Flows: *//p') flows in $(du -sm "$DAY" | cut -f1) MB; ours are $(query 'select sum(records) from batches') in $(query 'select pg_database_size(current_database()) >> 20') MB"

# best COMMAND…: the milliseconds of the best of RUNS, whole processes; fewer runs when
# one takes ten seconds, - when one fails or takes longer than LIMIT.
best() {
	local b='' a t i
	for ((i = 0; i < RUNS; i++)); do
		a=$(date +%s%N)
		timeout --foreground "$LIMIT" "$@" >"$work/answer" 2>"$work/error" || { echo -; return; }
		t=$((($(date +%s%N) - a) / 1000000))
		[ -n "$b" ] && [ "$b" -le "$t" ] || b=$t
		[ "$t" -lt 10000 ] || break
	done
	echo "$b"
}

# As people ask: a process for each question, over the whole day. The answers of ours
# are by the default law; --whole is what nfdump counts.
from=2026-11-20T00:00:00Z to=2026-11-21T00:00:00Z
side() { # side KIND NAME NFDUMP-ARGUMENTS NFDUMP-FILTER OUR-ARGUMENTS OUR-FILTER
	local n o ratio
	# shellcheck disable=SC2086
	n=$(best nfdump -q -R "$DAY" $3 "${4:-any}")
	# shellcheck disable=SC2086
	o=$(best "$work/flowtally" $5 --from $from --to $to --timeout "${LIMIT}s" ${6:+"$6"})
	ratio=$(awk -v n="$n" -v o="$o" 'BEGIN { if (n == "-" || o == "-") print "-"; else printf "%.1f", n / (o > 0 ? o : 1) }')
	printf '%-7s %-50s %10s %10s %8s\n' "$1" "$2" "$n" "$o" "$ratio" | tee -a "$work/side"
}
if [ "$SIDE" = 1 ]; then
	say "side by side, the best of $RUNS"
	printf '%-7s %-50s %10s %10s %8s\n' kind question nfdump/ms ours/ms ratio
	for filter in "" "proto udp"; do
		for by in flows packets bytes; do
			for k in srcip:src-addr dstip:dst-addr ip:addr srcport:src-port dstport:dst-port port:port proto:protocol router:exporter inif:in-if if:interface; do
				side "top${filter:+f}" "top ${k#*:} by $by${filter:+, $filter}" "-s ${k%:*}/$by -n 10" "$filter" "top --key ${k#*:} --by $by" "$filter"
			done
			side "top${filter:+f}" "top pair by $by${filter:+, $filter}" "-A srcip,dstip -O $by -n 10" "$filter" "top --key src-addr,dst-addr --by $by" "$filter"
		done
	done
	# Addresses are drawn by Zipf's law: one of the fewest flows of an hour, and the one
	# whose flows are nearest to 2,000.
	rare=$(query "select host(src_addr) from flows where flow_end >= '2026-11-20 11:00+00' and flow_end < '2026-11-20 12:00+00' group by src_addr order by count(*), src_addr desc limit 1")
	medium=$(query "select host(addr) from traffic_1d where dimension = 'src_addr' and bucket = '2026-11-20' and not remainder and addr is not null group by addr order by abs(sum(flows) - 2000), addr limit 1")
	side needle "flows from a rare address, $rare" "-o line -c 50" "src ip $rare" "flows --no-summary" "src ip $rare"
	side needle "flows from or to a rare address, $rare" "-o line -c 50" "ip $rare" "flows --no-summary" "ip $rare"
	side needle "all that $rare sent, summed" "-A srcip -O bytes" "src ip $rare" "top --key src-addr" "src ip $rare"
	side needle "top destinations of $medium" "-s dstip/bytes -n 10" "src ip $medium" "top --key dst-addr --by bytes" "src ip $medium"
	side needle "top ports of $medium, either side" "-s dstport/bytes -n 10" "ip $medium" "top --key dst-port --by bytes" "ip $medium"
	side select "sources of large DNS flows" "-s srcip/bytes -n 10" "proto udp and dst port 53 and bytes > 100000" "top --key src-addr --by bytes" "proto udp and dst port 53 and bytes > 100000"
	side select "destinations of a /24" "-s dstip/bytes -n 10" "src net 10.0.1.0/24" "top --key dst-addr --by bytes" "src net 10.0.1.0/24"
	side worst "source and port, nothing filtered" "-A srcip,dstport -O bytes -n 10" "" "top --key src-addr,dst-port --by bytes" ""
	side worst "pairs and ports, nothing filtered" "-A srcip,dstip,dstport -O bytes -n 10" "" "top --key src-addr,dst-addr,dst-port --by bytes" ""
fi

if [ "$ASK" = 1 ]; then
	# Thirty days for the longest range: the day's hours and day once more for each of
	# the days before. A flow of October makes that month's table.
	if [ "$(query "select count(*) from parts.settled where grain = 2 and bucket = '2026-11-19'")" = 0 ]; then
		say "twenty-nine more days of roll-ups"
		FLOWTALLY_BENCH_LOAD=$DATABASE_URL FLOWTALLY_BENCH_FROM=2026-10-01T12:00:01Z FLOWTALLY_BENCH_FLOWS=1 "$work/store.test" -test.run '^TestLoadForBench$' >"$work/load.log"
		"$work/flowtally" rollup 2>>"$work/load.log"
		for table in 1h 1d; do
			columns=$(query "select string_agg(attname, ', ' order by attnum) from pg_attribute where attrelid = 'parts.traffic_$table'::regclass and attnum > 0 and not attisdropped and attname <> 'bucket'")
			query "insert into parts.traffic_$table (bucket, $columns) select bucket - n * interval '1 day', $columns
				from parts.traffic_$table, generate_series(1, 29) n where bucket >= '2026-11-20' and bucket < '2026-11-21'"
		done
		query "insert into parts.settled (grain, bucket, settled_at) select grain, bucket - n * interval '1 day', now()
			from parts.settled, generate_series(1, 29) n where grain > 0 and bucket >= '2026-11-20' and bucket < '2026-11-21'"
		query 'vacuum analyze' 2>/dev/null || true
	fi
	say "a dashboard's questions, in one process"
	FLOWTALLY_BENCH_DAYS=30 FLOWTALLY_BENCH_ASK=$DATABASE_URL "$work/store.test" -test.run '^TestAskForBench$' -test.timeout 1h >"$work/ask" 2>&1 &
	part=$!
	tail -q -n +1 -F --pid "$part" "$work/ask" 2>/dev/null | sed -u '/^PASS$/d' || true
	wait "$part" || echo "bench-store: some of these failed"
	part=''
fi

if [ "$INGEST" = 1 ]; then
	say "ingest while dashboards are polled"
	FLOWTALLY=$work/flowtally waited deploy/bench-ingest.sh >"$work/ingest" 2>&1 || echo "bench-store: the rate fell below 80 %, or it failed" >>"$work/ingest"
	cat "$work/ingest"
fi

echo
say "RESULTS: $FLOWS flows over 24 hours, $(nproc) cores, PostgreSQL $(query 'show server_version' | cut -d' ' -f1), $(nfdump -V 2>&1 | sed 's/^nfdump: //')"
if [ -s "$work/side" ]; then
	# ratios KIND TITLE: the median and the smallest of a kind's ratios.
	ratios() {
		awk -v k="$1" '$1 ~ k && $NF != "-" { print $NF }' "$work/side" | sort -n | awk -v t="$2" -v none="$(awk -v k="$1" '$1 ~ k && $NF == "-"' "$work/side" | wc -l)" '
			{ v[NR] = $1 } END { if (NR) printf "%-34s %3d questions: median %6.1f, smallest %5.1f, largest %6.1f times as fast as nfdump%s\n", t, NR, v[int((NR + 1) / 2)], v[1], v[NR], (none > 0 ? "; " none " without an answer" : "") }'
	}
	ratios '^top$' "rankings, nothing filtered"
	ratios '^topf$' "rankings, one protocol"
	ratios '^topf?$' "all rankings"
	ratios '^needle$' "needles"
	ratios '^select$' "selective filters"
	ratios '^worst$' "worst cases"
	echo "the least of all:"
	awk '$NF != "-"' "$work/side" | awk '{ print $NF "\t" $0 }' | sort -n | head -5 | cut -f2-
fi
[ ! -s "$work/ask" ] || sed -n '/^RESULTS/,/^--- /p' "$work/ask" | sed 's/^RESULTS    /in process /; /^--- /d'
[ ! -s "$work/ingest" ] || sed -n '/^RESULTS/s/^RESULTS //p' "$work/ingest"
say "done"
