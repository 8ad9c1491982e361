#!/usr/bin/env bash
# Installs what flowtally needs and this machine lacks.
#
#   deploy/setup.sh run     to build and run it: Go is yours, PostgreSQL's server
#                           comes from apt, a current Node.js from the npm registry
#   deploy/setup.sh test    the same and what the tests use
#
# Debian and Ubuntu. It asks before it installs through apt, unless CI is set;
# without a terminal to ask on it says what is missing and stops. apt and npm use
# the sources, proxies and registries that they are configured with.
set -euo pipefail
cd "$(dirname "$0")/.."

want=${1:-run}
case $want in
run | test) ;;
*)
	echo "usage: deploy/setup.sh [run|test]" >&2
	exit 2
	;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# install PACKAGE…: through apt, when the machine's owner agrees.
install() {
	local sudo=() answer
	have apt-get || die "$* missing, and this machine has no apt: install them your system's way and try again"
	if [ "$(id -u)" -ne 0 ]; then
		have sudo || die "run this as root to install what is missing: apt-get install $*"
		sudo=(sudo)
	fi
	if [ -z "${CI:-}" ]; then
		[ -t 0 ] || die "nobody to ask: install what is missing and try again: ${sudo[*]:+sudo }apt-get install $*"
		printf 'setup: missing: %s. Install with %sapt-get? [Y/n] ' "$*" "${sudo[*]:+sudo }" >&2
		read -r answer
		case $answer in
		"" | [Yy]*) ;;
		*) die "install it yourself and try again: apt-get install $*" ;;
		esac
	fi
	# Lists may be missing or old; a list that cannot be had is no reason to stop
	# when the package still can.
	"${sudo[@]}" apt-get update -q >&2 || say "apt-get update failed; trying with the lists there are"
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2 ||
		die "apt-get could not install $*: see above"
}

# postgres_dir prints where a PostgreSQL server of version 15 or newer is.
postgres_dir() {
	local dir version
	for dir in "${FLOWTALLY_PG_BIN:-}" /usr/lib/postgresql/*/bin "$(dirname "$(command -v postgres || echo /none)")"; do
		if [ ! -x "$dir/postgres" ] || [ ! -x "$dir/initdb" ]; then
			continue
		fi
		version=$("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		if [ "$version" -ge 15 ]; then
			echo "$dir"
			return
		fi
	done
	return 1
}

# node_ok: Vite 8 wants Node.js ^20.19 or >= 22.12, and its packages an npm of 11.
node_ok() {
	have node && have npm || return 1
	node -e 'const [a, b] = process.versions.node.split(".").map(Number)
		process.exit(a === 20 && b >= 19 || a === 22 && b >= 12 || a > 22 ? 0 : 1)' || return 1
	[ "$(npm --version | cut -d. -f1)" -ge 11 ]
}

# get_node puts a Node.js and an npm into .tools, by the npm there is.
get_node() {
	local arch
	case $(uname -s)-$(uname -m) in
	Linux-x86_64) arch=linux-x64 ;;
	Linux-aarch64) arch=linux-arm64 ;;
	*) die "install Node.js 22 with npm 11: the npm registry carries none for $(uname -sm)" ;;
	esac
	have npm || install npm
	say "installing Node.js 22 and npm 11 into .tools"
	rm -rf .tools/node_modules .tools/bin
	mkdir -p .tools/bin
	# A package.json keeps npm from looking for one further up.
	echo '{"private": true}' >.tools/package.json
	(cd .tools && npm install --no-save --no-audit --no-fund --no-package-lock --loglevel=error \
		"node-$arch@22" npm@11 >&2) ||
		die "npm could not install Node.js: install Node.js 22 with npm 11 yourself and try again"
	ln -s "../node_modules/node-$arch/bin/node" .tools/bin/node
	ln -s ../node_modules/npm/bin/npm-cli.js .tools/bin/npm
}

PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin
export PATH

have go || die "install Go 1.26 or newer from https://go.dev/dl/ and try again"

missing=()
postgres_dir >/dev/null || missing+=(postgresql)
if [ "$want" = test ]; then
	# The race detector is C; the rest are peers to compare with and a browser.
	have gcc || missing+=(gcc libc6-dev)
	have nfcapd || missing+=(nfdump)
	have softflowd || [ -x /usr/sbin/softflowd ] || missing+=(softflowd)
	have tshark || missing+=(tshark)
	have chromium || have chromium-browser || have google-chrome || missing+=(chromium)
	have ip || [ -x /usr/sbin/ip ] || missing+=(iproute2)
	have iptables || [ -x /usr/sbin/iptables ] || missing+=(iptables)
	have ethtool || [ -x /usr/sbin/ethtool ] || missing+=(ethtool)
fi
node_ok || have npm || missing+=(npm)
[ ${#missing[@]} -eq 0 ] || install "${missing[@]}"

postgres_dir >/dev/null ||
	die "this system's PostgreSQL is older than 15: install a newer server and say where with FLOWTALLY_PG_BIN=…/bin"
node_ok || get_node
hash -r
node_ok || die "the Node.js in .tools does not run: install Node.js 22 with npm 11 yourself"
