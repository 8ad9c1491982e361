#!/usr/bin/env bash
# Tests the page in a headless Chromium, served by a real flowtally lab on free
# ports with demo traffic. Exit status 77: skipped, the last line says why.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin
export PATH

chromium=${FLOWTALLY_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
	echo "page in Chromium: chromium is not installed"
	exit 77
fi

# The database's user has to get in when this is root.
work=$(mktemp -d)
chmod 755 "$work"
lab=
stop() {
	if [ -n "$lab" ]; then
		kill -INT "$lab" 2>/dev/null || true
		wait "$lab" || echo "e2e: the lab did not stop cleanly" >&2
	fi
	rm -rf "$work"
}
trap stop EXIT

./flowtally lab --demo --data "$work/data" --listen 127.0.0.1:0 --web 127.0.0.1:0 >"$work/out" 2>"$work/log" &
lab=$!
url=
for _ in $(seq 600); do
	url=$(sed -n 's/^ *page  *\(http[^ ]*\)$/\1/p' "$work/out")
	[ -n "$url" ] && grep -q 'caught up' "$work/out" && break
	if ! kill -0 "$lab" 2>/dev/null; then
		echo "e2e: flowtally lab has ended:" >&2
		cat "$work/log" >&2
		lab=
		exit 1
	fi
	sleep 0.2
done
if [ -z "$url" ]; then
	echo "e2e: flowtally lab gave no address within two minutes:" >&2
	cat "$work/out" "$work/log" >&2
	exit 1
fi
grep '^demo' "$work/out" || true
sleep 3 # the last batch is under way

cd web/ui
FLOWTALLY_URL=$url FLOWTALLY_CHROMIUM=$chromium npm run --silent e2e
