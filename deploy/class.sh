#!/usr/bin/env bash
# Makes what the page for others needs (docker compose --profile class up), in the
# folder class: a certificate of its own, and a file of those who may log in.
#
#   deploy/class.sh [NAME…]    a viewer for each name, beside the editor teacher
#
# It prints the passwords, once. Who is there already stays as he is. A certificate
# of somebody's whom browsers trust goes into class/web.pem, its key into class/web.key.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "class: $*" >&2
	exit 1
}
for name in "$@"; do
	[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "the name \"$name\" has other signs than letters, digits, dots and dashes: choose another"
done
[ -f .env ] || die "there is no .env: run make env first, it writes one with random passwords"

umask 077
mkdir -p class
if [ ! -e class/web.pem ]; then
	command -v openssl >/dev/null || die "openssl, which makes the certificate, is not installed: install it, or put a certificate into class/web.pem and its key into class/web.key"
	host=$(sed -n 's/^FLOWTALLY_CLASS_HOST=//p' .env)
	host=${host:-$(hostname)}
	names="DNS:localhost,IP:127.0.0.1"
	for name in $host; do
		names+=",DNS:$name"
	done
	for address in $(hostname -I 2>/dev/null || true); do
		names+=",IP:$address"
	done
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 397 -subj "/CN=${host%% *}" \
		-addext "subjectAltName=$names" -keyout class/web.key -out class/web.pem 2>/dev/null ||
		die "openssl could not make a certificate for $names"
	echo "class/web.pem is a certificate for $names, valid for 397 days; browsers ask whether to trust it"
fi

docker image inspect flowtally >/dev/null 2>&1 || docker compose build
touch class/users
for name in teacher "$@"; do
	if cut -d: -f1 class/users | grep -q -x -F -- "$name"; then
		echo "$name: is there already"
		continue
	fi
	role=viewer
	if [ "$name" = teacher ]; then
		role=editor
	fi
	password=$(LC_ALL=C tr -dc 'a-hjkmnp-z2-9' </dev/urandom | head -c 14 || true)
	line=$(docker run --rm --interactive --network none flowtally web user "$name" --role "$role" <<<"$password")
	printf '%s\n' "$line" >>class/users
	echo "$name: $role, password $password"
done

# The container's user is who may read the files: not root, and nobody else.
if [ "$(id -u)" -eq 0 ]; then
	chown -R 65532:65532 class
elif ! grep -q '^FLOWTALLY_CLASS_USER=' .env; then
	printf '# The owner of the folder class.\nFLOWTALLY_CLASS_USER=%s:%s\n' "$(id -u)" "$(id -g)" >>.env
fi
