# shellcheck shell=bash disable=SC2034 # what is set here, others use
# What the benchmarks share, sourced by them: a directory to work in, a private
# PostgreSQL server in it, and both gone at the end.
#
#   PG_SETTINGS="a=b c=d"    more settings of the server
#   FLOWTALLY_PG_BIN=DIR     where postgres and initdb are, else the newest there is
#
# The server is an ordinary one: fsync, synchronous_commit and full_page_writes on,
# wal_level replica. It listens on a socket in its directory alone.

PATH=$PATH:/usr/local/go/bin:/usr/sbin
export LC_ALL=C

# Exit status 77: skipped, the last line says why.
skip() {
	echo "$(basename "$0" .sh): $1"
	exit 77
}

# have_server: sets pgbin.
have_server() {
	local d
	pgbin=${FLOWTALLY_PG_BIN:-}
	if [ -z "$pgbin" ]; then
		for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
			[ -x "$d/initdb" ] && pgbin=$d
		done
	fi
	[ -n "$pgbin" ] || skip "no PostgreSQL server is installed"
	command -v psql >/dev/null || skip "psql is not installed"
	[ "$(id -u)" != 0 ] || getent passwd postgres >/dev/null || skip "root needs a user postgres to run the server"
}

# as COMMAND…: as who the server is; PostgreSQL does not run as root. With exec the
# caller becomes it, so that its number is the server's.
as() {
	local run=()
	[ "$1" != exec ] || { run=(exec) && shift; }
	if [ "$(id -u)" = 0 ]; then
		"${run[@]}" setpriv --reuid postgres --regid postgres --clear-groups "$@"
	else
		"${run[@]}" "$@"
	fi
}

# work_dir: sets work, a new directory.
work_dir() {
	work=$(mktemp -d "${TMPDIR:-/var/tmp}/flowtally-bench.XXXXXX")
	chmod 755 "$work"
}

server=''
# start_server: sets server, its process, and makes database flowtally, of which dsn
# is the URL.
start_server() {
	local s args=()
	mkdir "$work/pg"
	[ "$(id -u)" != 0 ] || chown postgres "$work/pg"
	as "$pgbin/initdb" -D "$work/pg/data" -U flowtally -A trust -E UTF8 --locale=C >"$work/initdb.log"
	for s in listen_addresses= unix_socket_directories="$work/pg" port=5432 \
		fsync=on synchronous_commit=on full_page_writes=on wal_level=replica \
		shared_buffers=1GB max_wal_size=8GB min_wal_size=2GB checkpoint_timeout=15min checkpoint_completion_target=0.9 \
		wal_compression=on wal_buffers=64MB jit=off timezone=UTC ${PG_SETTINGS:-}; do
		args+=(-c "$s")
	done
	as exec "$pgbin/postgres" -D "$work/pg/data" "${args[@]}" >"$work/pg.log" 2>&1 &
	server=$!
	for _ in $(seq 100); do
		sql 'select 1' >/dev/null 2>&1 && break
		sleep 0.2
	done
	new_database flowtally
}

# new_database NAME: sets dsn.
new_database() {
	sql "create database $1"
	dsn="postgres://flowtally@/$1?host=$work/pg&port=5432"
}

# sql STATEMENT [DATABASE]
sql() { psql -qAtX -h "$work/pg" -p 5432 -U flowtally -d "${2:-postgres}" -c "$1"; }

stop_server() {
	[ -n "$server" ] || return 0
	kill -INT "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=''
}

free_port() { python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.'"$1"'); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# generator: builds the load generator into $work/flowblast.
generator() {
	local shared=${FLOWTALLY_SHARED:-../shared}
	[ -d "$shared/bench/flowblast" ] || skip "no generator: $shared/bench/flowblast is not there"
	mkdir "$work/bench"
	cp -R "$shared/bench/." "$work/bench/"
	chmod -R u+w "$work/bench"
	(cd "$work/bench" && go build -o "$work/flowblast" ./flowblast)
}
