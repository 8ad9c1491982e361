#!/usr/bin/env bash
# Backs the database of the compose file up, or puts a backup back.
#
#   deploy/backup.sh save [FILE]      while everything runs; FILE is made, by default
#                                     backups/flowtally-DATE.dump
#   deploy/backup.sh restore FILE     in place of what is there
#
# A backup is a file of pg_dump: flows, sums, ledger, names, views. The passwords are
# in .env, and what the database could not take yet in the volume spool.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'backup: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
database() { docker compose exec -T database "$@"; }
sql() { database psql -X -q -v ON_ERROR_STOP=1 --username flowtally --dbname postgres --command "$1"; }

save() {
	local file=${1:-backups/flowtally-$(date -u +%Y-%m-%dT%H%MZ).dump}
	[ ! -e "$file" ] || die "$file exists: choose another name"
	umask 077
	mkdir -p "$(dirname "$file")"
	# A file with this name is whole.
	database pg_dump --username flowtally --dbname flowtally --format custom --compress 1 --create >"$file.part" &&
		database pg_restore --list <"$file.part" >/dev/null || {
		rm -f "$file.part"
		die "no backup was made, see above"
	}
	mv "$file.part" "$file"
	say "$file has $(du -h "$file" | cut -f1)"
}

restore() {
	local file=$1 others
	[ -f "$file" ] || die "there is no file $file"
	others=$(docker compose --profile '*' ps --services --status running | grep -v -x database || true)
	docker compose up --detach --wait database
	database pg_restore --list <"$file" >/dev/null || die "$file is no backup of pg_dump: nothing was changed"
	# The roles are the server's, not the backup's.
	docker compose run --rm migrate
	# What comes from here on waits in the spool, or is lost, and counted, while nobody listens.
	# shellcheck disable=SC2086
	[ -z "$others" ] || docker compose --profile '*' stop $others
	sql 'drop database if exists flowtally_before with (force)'
	sql 'alter database flowtally rename to flowtally_before'
	if ! database pg_restore --username flowtally --dbname postgres --create --exit-on-error <"$file"; then
		sql 'drop database if exists flowtally with (force)'
		sql 'alter database flowtally_before rename to flowtally'
		start "$others"
		die "$file could not be restored, see above: the database is as it was"
	fi
	sql 'drop database flowtally_before with (force)'
	# A dump has no statistics, nor which pages are to be seen by all.
	database vacuumdb --analyze --quiet --username flowtally --dbname flowtally
	start "$others"
	say "$file is restored"
}

# start starts what ran, or what runs by default, by way of migrate: a backup may be
# older than the program.
start() {
	# shellcheck disable=SC2086
	docker compose --profile '*' up --detach --wait ${1:-collector web}
}

case ${1:-} in
save) save "${2:-}" ;;
restore) restore "${2:?usage: deploy/backup.sh restore FILE}" ;;
*)
	echo "usage: deploy/backup.sh save [FILE] | restore FILE" >&2
	exit 2
	;;
esac
