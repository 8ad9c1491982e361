#!/bin/sh
# Loads the same flows into nfdump's files and into our tables, and times questions
# side by side on them. Needs nfdump and nfcapd, psql, the program built (make build), and
# DATABASE_URL: an empty database that its user may migrate. Sends to loopback only.
#
#   FLOWS  how many flows, over 24 hours (20000000)
#   PORT   a free UDP port of 127.0.0.1 for nfcapd (29995)
#   RUNS   how often each question is asked; the best counts (5)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
flows=${FLOWS:-20000000}
runs=${RUNS:-5}
port=${PORT:-29995}
: "${DATABASE_URL:?say which database to fill}"
dir=$(mktemp -d)
mkdir "$dir/nfdump"
started=
stop() {
	for pid in $started; do kill "$pid" 2>/dev/null || true; done
	for pid in $started; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM
for need in nfdump nfcapd; do
	command -v $need >/dev/null || { echo "$need is not installed" >&2; exit 1; }
done

# milliseconds COMMAND… : the best of RUNS.
milliseconds() {
	best=
	i=0
	while [ $i -lt "$runs" ]; do
		a=$(date +%s%N)
		"$@" >/dev/null 2>&1
		b=$(date +%s%N)
		t=$(((b - a) / 1000000))
		[ -n "$best" ] && [ "$best" -le "$t" ] || best=$t
		i=$((i + 1))
	done
	echo "$best"
}

# The flows: the load generator's, with times spread over the day of 2026-11-20. Our
# tables get them by COPY, nfcapd the same records over loopback.
cd "$root"
./flowtally migrate
nfcapd -w "$dir/nfdump" -p "$port" -b 127.0.0.1 -B 20000000 -t 3600 >"$dir/nfcapd.log" 2>&1 &
started=$!
sleep 1
FLOWTALLY_BENCH_LOAD="$DATABASE_URL" FLOWTALLY_BENCH_NFCAPD="127.0.0.1:$port" FLOWTALLY_BENCH_FLOWS="$flows" \
	go test ./store -run '^TestLoadForBench$' -count 1 -timeout 3h -v
sleep 3
kill "$started"
wait "$started" 2>/dev/null || true
started=
./flowtally rollup
echo "nfdump has $(nfdump -R "$dir/nfdump" -I 2>/dev/null | sed -n 's/^Flows: *//p') of $flows flows in $(du -sm "$dir/nfdump" | cut -f1) MB"

# Thirty days for the longest question: the day's roll-up once more for each of the
# days before, in the same partition.
if [ "${DAYS:-1}" = 1 ]; then
	psql -q "$DATABASE_URL" -c "insert into parts.traffic_1d select t.bucket - n * interval '1 day', flows, packets, bytes, number, exporter_id, dimension, sampling_rate, part, protocol, remainder, addr, addr2, cut
		from parts.traffic_1d t, generate_series(1, 29) n where t.bucket = '2026-11-20'" -c "analyze parts.traffic_1d" && export FLOWTALLY_BENCH_DAYS=30
fi
psql -q "$DATABASE_URL" -c "vacuum analyze" || true

echo "== ours: a dashboard's questions, each seven times"
FLOWTALLY_BENCH_ASK="$DATABASE_URL" go test ./store -run '^TestAskForBench$' -count 1 -timeout 2h -v | grep -v '^---\|^===\|^ok\|^PASS'

# Side by side, as people ask: a process for each question, over the whole day. The
# answers of ours are by the default law; --whole is what nfdump counts.
from=2026-11-20T00:00:00Z
to=2026-11-21T00:00:00Z
echo "== side by side, the best of $runs"
printf '%-46s %10s %10s %8s\n' question nfdump/ms ours/ms ratio
side() { # side NAME NFDUMP-ARGUMENTS NFDUMP-FILTER OUR-ARGUMENTS OUR-FILTER
	n=$(milliseconds nfdump -q -R "$dir/nfdump" $2 "${3:-any}")
	o=$(milliseconds ./flowtally $4 --from $from --to $to $5)
	printf '%-46s %10s %10s %8s\n' "$1" "$n" "$o" "$(awk "BEGIN { printf \"%.1f\", $n / ($o > 0 ? $o : 1) }")"
}
for by in flows packets bytes; do
	side "top 10 sources by $by" "-s srcip/$by -n 10" "" "top --key src-addr --by $by" ""
	side "top 10 destinations by $by" "-s dstip/$by -n 10" "" "top --key dst-addr --by $by" ""
	side "top 10 addresses by $by" "-s ip/$by -n 10" "" "top --key addr --by $by" ""
	side "top 10 destination ports by $by" "-s dstport/$by -n 10" "" "top --key dst-port --by $by" ""
	side "protocols by $by" "-s proto/$by -n 10" "" "top --key protocol --by $by" ""
	side "top 10 sources of UDP by $by" "-s srcip/$by -n 10" "proto udp" "top --key src-addr --by $by" "proto udp"
done
side "pairs by bytes" "-A srcip,dstip -O bytes -n 10" "" "top --key src-addr,dst-addr --by bytes" ""
# A rare address: the last of the generator's Zipf is there a few times, if at all.
rare=$(psql -qAt "$DATABASE_URL" -c "select host(src_addr) from flows where flow_end >= '2026-11-20 11:00+00' and flow_end < '2026-11-20 12:00+00' group by src_addr order by count(*), src_addr desc limit 1")
side "needle: flows from $rare" "-o line -n 50" "src ip $rare" "flows --no-summary" "src ip $rare"
side "needle: flows from or to $rare" "-o line -n 50" "ip $rare" "flows --no-summary" "ip $rare"
side "selective: sources of large DNS flows" "-s srcip/bytes -n 10" "proto udp and dst port 53 and bytes > 100000" "top --key src-addr --by bytes" "proto udp and dst port 53 and bytes > 100000"
side "worst: pairs and ports, nothing filtered" "-A srcip,dstip,dstport -O bytes -n 10" "" "top --key src-addr,dst-addr,dst-port --by bytes --timeout 10m" ""
