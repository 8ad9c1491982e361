#!/usr/bin/env bash
# Tests the page in a headless Chromium, served by a real flowtally lab on free
# ports with demo traffic. Exit status 77: skipped, the last line says why.
#
# FLOWTALLY_CHROMIUM names a browser, FLOWTALLY_SHOTS a folder for screenshots.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin
export PATH

# How long the parts may take at most, in seconds.
start_within=300 test_within=1800 stop_within=45

chromium=${FLOWTALLY_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
	echo "page in Chromium: chromium is not installed"
	exit 77
fi

# Root's PostgreSQL is another user, who has to get in: not every TMPDIR lets him.
passable() {
	local dir
	dir=$(realpath "$1") || return 1
	until [ "$dir" = / ]; do
		[ -n "$(find "$dir" -maxdepth 0 -perm -001)" ] || return 1
		dir=$(dirname "$dir")
	done
}
tmp=${TMPDIR:-/tmp}
if [ "$(id -u)" = 0 ] && ! passable "$tmp"; then
	tmp=/tmp
fi
work=$(mktemp -d "$tmp/flowtally-e2e.XXXXXX")
chmod 755 "$work"

# shellcheck disable=SC2317 # by way of the trap
# end PID SECONDS: asks a child to stop, waits, and ends it when it does not.
end() {
	local n=$(($2 * 10))
	kill -TERM "$1" 2>/dev/null || true
	while kill -0 "$1" 2>/dev/null && [ $((n--)) -gt 0 ]; do
		sleep 0.1
	done
	if kill -KILL "$1" 2>/dev/null; then
		echo "e2e: process $1 did not stop within $2 s and was killed" >&2
	fi
	wait "$1"
}

lab='' web='' tls='' page=''
# shellcheck disable=SC2317 # by way of the trap
finish() {
	local status=$?
	trap '' INT TERM HUP
	if [ -n "$page" ]; then
		end "$page" 20 || true
	fi
	for server in $web $tls; do
		end "$server" 20 || true
	done
	if [ -n "$lab" ] && ! end "$lab" "$stop_within"; then
		echo "e2e: the lab did not end cleanly" >&2
		[ "$status" != 0 ] || status=1
	fi
	if [ "$status" != 0 ] && [ -e "$work/log" ]; then
		echo "e2e: what the lab said:" >&2
		cat "$work/out" >&2
		tail -n 200 "$work/log" >&2
	fi
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

./flowtally lab --demo --data "$work/data" --listen 127.0.0.1:0 --web 127.0.0.1:0 >"$work/out" 2>"$work/log" &
lab=$!
until grep -q '^demo: caught up' "$work/out"; do
	if ! kill -0 "$lab" 2>/dev/null; then
		echo "e2e: the lab has ended" >&2
		exit 1
	fi
	if [ "$SECONDS" -ge "$start_within" ]; then
		echo "e2e: the lab was not ready within $start_within s" >&2
		exit 1
	fi
	sleep 0.1
done
url=$(sed -n 's/^ *page  *\(http[^ ]*\)$/\1/p' "$work/out")
if [ -z "$url" ]; then
	echo "e2e: the lab gave no address" >&2
	exit 1
fi
grep '^demo' "$work/out"

# The same data where people log in. The lab keeps the passwords of the database's
# roles beside it; the one of people is made up here and ends with us.
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
for role in viewer editor; do
	echo "$password" | ./flowtally web user "$role" --role "$role" >>"$work/users"
done
database=$(sed -n "s/.*flow_reader:[^@]*\(@[^']*\)'.*/\1/p" "$work/out")
database=postgres://flow_web:$(sed -n 's/^flow_web=//p' "$work/data/postgres/passwords")$database
# serving LOG PID: waits until a server serves, and prints where.
serving() {
	local at
	until at=$(sed -n 's/.*"web: serving","address":"\([^"]*\)".*/\1/p' "$1") && [ -n "$at" ]; do
		if ! kill -0 "$2" 2>/dev/null; then
			echo "e2e: the page with a login has ended:" >&2
			cat "$1" >&2
			exit 1
		fi
		if [ "$SECONDS" -ge $((start_within + 60)) ]; then
			echo "e2e: the page with a login was not ready in time" >&2
			exit 1
		fi
		sleep 0.1
	done
	echo "$at"
}
DATABASE_URL=$database ./flowtally web --auth "$work/users" --no-dns --listen 127.0.0.1:0 --log-format json 2>"$work/web" &
web=$!
auth=$(serving "$work/web" "$web")

# And once more by TLS, under a name. Go brings the program that makes certificates.
(cd "$work" && go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" --host flows.example --ecdsa-curve P256 --duration 24h 2>/dev/null)
DATABASE_URL=$database ./flowtally web --auth "$work/users" --tls-cert "$work/cert.pem" --tls-key "$work/key.pem" --allow-host flows.example --no-dns --listen 127.0.0.1:0 --log-format json 2>"$work/tls" &
tls=$!
secure=https://flows.example:$(serving "$work/tls" "$tls" | sed 's/.*://')

# In the background, so that a signal to us is not kept waiting.
FLOWTALLY_URL=$url FLOWTALLY_AUTH_URL=http://$auth FLOWTALLY_AUTH_PASSWORD=$password FLOWTALLY_TLS_URL=$secure FLOWTALLY_TLS_CERT=$work/cert.pem FLOWTALLY_CHROMIUM=$chromium timeout -k 10 "$test_within" npm --prefix web/ui run --silent e2e &
page=$!
status=0
wait "$page" || status=$?
page=''
if [ "$status" = 124 ]; then
	echo "e2e: the tests took longer than $test_within s" >&2
fi
exit "$status"
