#!/bin/sh
# Loads the same flows into nfdump's files and into our tables, and times questions
# side by side on them. Needs nfdump and nfcapd, the program built (make build), and
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

from=2026-11-20T00:00:00Z
to=2026-11-21T00:00:00Z
printf '%-40s %10s %10s\n' question nfdump/ms ours/ms
side() { # side NAME NFDUMP-ARGUMENTS OUR-ARGUMENTS
	n=$(milliseconds nfdump -q -R "$dir/nfdump" $2)
	o=$(milliseconds ./flowtally $3 --from $from --to $to)
	printf '%-40s %10s %10s\n' "$1" "$n" "$o"
}
for by in flows packets bytes; do
	side "top 10 sources by $by" "-s srcip/$by -n 10" "top --key src-addr --by $by"
	side "top 10 destinations by $by" "-s dstip/$by -n 10" "top --key dst-addr --by $by"
	side "top 10 destination ports by $by" "-s dstport/$by -n 10" "top --key dst-port --by $by"
	side "protocols by $by" "-s proto/$by -n 10" "top --key protocol --by $by"
done
side "pairs by bytes" "-A srcip,dstip -O bytes -n 10" "top --key src-addr,dst-addr --by bytes"
