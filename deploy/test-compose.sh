#!/usr/bin/env bash
# Runs the compose file for real, on a Docker engine of its own: make test-compose.
#
# The engine, its containers, networks and mounts live in namespaces of this script
# and end with it; no other engine is touched, and nothing of its network is seen
# outside. It needs root, or sudo that does not ask. Where images can be pulled the
# base images are the real ones, else stand-ins under the same tags (deploy/standins).
# What takes long to make is kept in ~/.cache/flowtally.
#
#   FLOWTALLY_RUN='regexp'      only these tests of story/compose_test.go
#
# It ends with 77 where no engine can be had, and says why.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin:/usr/sbin:/sbin
export PATH

# The commit that the upgrade begins at: the last one before this test.
before=3bb4f41ace6fe10718ac4f8cdd1b4e81dadb979d
compose=v2.40.3
# The images that the files name: of others', for building and for running.
mapfile -t bases < <(sed -n -E 's/^ *image: (.*:.*)/\1/p; s/^FROM ([^ ]*:[^ ]*).*/\1/p' deploy/Dockerfile docker-compose.yml)

say() { printf 'test-compose: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
skip() {
	echo "compose: $*"
	exit 77
}

# start_engine OPTION…: containerd and dockerd, until they answer.
start_engine() {
	# Of its plugins the one for Kubernetes would listen on a port.
	printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$work/containerd.toml"
	containerd --config "$work/containerd.toml" --root "$work/containerd" --state "$work/run/containerd" --address "$work/containerd.sock" \
		>>"$work/containerd.log" 2>&1 &
	containerd=$!
	wait_for test -S "$work/containerd.sock"
	dockerd --containerd "$work/containerd.sock" --data-root "$work/docker" --exec-root "$work/run/docker" \
		--pidfile "$work/docker.pid" --host "$DOCKER_HOST" --cgroup-parent "$cgroup" "$@" >>"$work/dockerd.log" 2>&1 &
	dockerd=$!
	wait_for docker info
}

stop_engine() {
	kill "$dockerd" && wait "$dockerd" || true
	kill "$containerd" && wait "$containerd" || true
	rm -f "$work/docker.pid"
}

# quietly runs what says much, and shows it where it fails.
quietly() {
	"$@" >"$work/said" 2>&1 || {
		tail -n 50 "$work/said" >&2
		die "failed: $*"
	}
}

wait_for() {
	local i
	for ((i = 0; i < 300; i++)); do
		if "$@" >/dev/null 2>&1; then
			return
		fi
		sleep 0.2
	done
	tail -n 20 "$work"/*.log >&2
	skip "no engine to be had: it does not start, see above"
}

# stand_ins makes the base images of what this machine has.
stand_ins() {
	local packages=postgresql,prometheus,ca-certificates,libstdc++6,libatomic1 context=$work/standins tree image name applet
	tree=$cache/debian-$(dpkg --print-architecture)-$(cksum <<<"$packages" | cut -d' ' -f1).tar
	if [ ! -s "$tree" ]; then
		say "making them of Debian's packages, once"
		debootstrap --variant=minbase --include=$packages bookworm "$work/debian" \
			"$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)" >"$work/debootstrap.log" 2>&1 ||
			{ tail -n 20 "$work/debootstrap.log" >&2; skip "no base images to be had: debootstrap failed, see above"; }
		rm -rf "$work/debian/var/cache/apt/archives" "$work/debian/var/lib/apt/lists"
		tar -C "$work/debian" --one-file-system -cf "$tree.new" . && mv "$tree.new" "$tree"
		rm -rf "$work/debian"
	fi
	docker import "$tree" debian >/dev/null
	cp -a deploy/standins "$context"
	cp -a "$(go env GOROOT)" "$context/golang/go"
	rm -rf "$context/golang/go/test"
	# What the compiler makes here it need not make twice there.
	GOCACHE=$cache/go-build CGO_ENABLED=0 quietly go build -trimpath -buildvcs=false -o /dev/null .
	cp -a "$cache/go-build" "$context/golang/made"
	mkdir -p "$context/node/node/bin" "$context/node/node/lib/node_modules" "$context/busybox/busybox/bin"
	cp -L "$(command -v node)" "$context/node/node/bin/node"
	# npm is the folder two above what the command npm leads to.
	cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$context/node/node/lib/node_modules/npm"
	ln -s ../lib/node_modules/npm/bin/npm-cli.js "$context/node/node/bin/npm"
	ln -s ../lib/node_modules/npm/bin/npx-cli.js "$context/node/node/bin/npx"
	for image in golang node; do
		cp -L /etc/ssl/certs/ca-certificates.crt "$context/$image"
	done
	cp -L "$(command -v busybox)" "$context/busybox/busybox/bin/busybox"
	for applet in $(busybox --list | grep -v -x busybox); do
		ln -s busybox "$context/busybox/busybox/bin/$applet"
	done
	mkdir -m 1777 "$context/busybox/busybox/tmp"
	for image in "${bases[@]}"; do
		name=${image%%:*}
		quietly docker build --network host --tag "$image" --build-arg GOPROXY="$(go env GOPROXY)" --build-arg GOSUMDB="$(go env GOSUMDB)" \
			--build-arg NPM_REGISTRY="$(npm config get registry)" "$context/${name##*/}"
	done
	rm -rf "$context"
}

# inside runs with processes and mounts of its own.
inside() {
	local image
	# First with this machine's network, since building fetches modules; without
	# bridge or rules, so that nothing of it changes.
	start_engine --bridge none --iptables=false --ip-forward=false
	if timeout 60 docker pull --quiet "${bases[0]}" >/dev/null 2>"$work/pull"; then
		for image in "${bases[@]:1}"; do
			docker pull --quiet "$image"
		done
	else
		say "stand-ins for base images, because none can be pulled: $(tail -n 1 "$work/pull")"
		stand_ins
	fi
	say "building the image, and that of ${before:0:7}"
	printf '%s_PASSWORD=%s\n' POSTGRES owner WRITER writer WEB web READER reader >"$work/env"
	for image in before now; do
		if [ "$image" = now ]; then
			printf 'services: {migrate: {build: {network: host}}}\n' >"$work/build.yml"
			(cd "$work/now" && quietly docker compose --env-file "$work/env" --file docker-compose.yml --file "$work/build.yml" build)
		elif [ -s "$cache/${before:0:12}.tar" ]; then
			quietly docker load --input "$cache/${before:0:12}.tar"
		else
			quietly docker build --network host --file "$work/before/deploy/Dockerfile" --tag flowtally "$work/before"
			docker save --output "$cache/${before:0:12}.tar" flowtally
		fi
		docker tag flowtally "flowtally:$image"
	done
	stop_engine

	# Then with a network of its own.
	exec unshare --net "$0" networked
}

# networked runs the tests, in a network of its own.
networked() {
	mkdir "$work/cgroup"
	ip link set lo up
	# What /sys says of interfaces is of the network it was mounted in.
	mount --rbind /sys/fs/cgroup "$work/cgroup"
	mount -t sysfs sysfs /sys
	mount --rbind "$work/cgroup" /sys/fs/cgroup
	start_engine
	cd story
	"$work/compose.test" -test.v -test.timeout 40m -test.run "${FLOWTALLY_RUN:-^TestCompose$}"
}

case ${1:-} in
inside | networked)
	"$1"
	exit
	;;
esac

if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || skip "an engine of its own needs root, or sudo that does not ask"
	exec sudo -n env PATH="$PATH" HOME="$HOME" CI="${CI:-}" FLOWTALLY_RUN="${FLOWTALLY_RUN:-}" "$0"
fi
deploy/setup.sh compose || skip "no engine to be had: see above"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/flowtally
plugin=$cache/docker-compose-$compose
mkdir -p "$cache"
if [ ! -x "$plugin" ]; then
	say "building docker compose $compose, once: that takes some ten minutes"
	module=$(mktemp -d)
	(cd "$module" && go mod init compose && go get -tool "github.com/docker/compose/v2/cmd@$compose" &&
		CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$compose" -o "$plugin.new" github.com/docker/compose/v2/cmd) \
		>"$module/said" 2>&1 || {
		tail -n 20 "$module/said" >&2
		skip "docker compose cannot be built, see above"
	}
	mv "$plugin.new" "$plugin"
	rm -rf "$module"
fi

work=$(mktemp -d /tmp/flowtally-compose.XXXXXX)
cgroup=/flowtally-compose-$$
engine=
clean() {
	if [ -n "$engine" ]; then
		kill -KILL "$engine" 2>/dev/null && wait "$engine" 2>/dev/null || true
	fi
	rm -rf --one-file-system "$work"
	find /sys/fs/cgroup -mindepth 1 -depth -type d -path "*$cgroup*" -exec rmdir {} \; 2>/dev/null || true
}
trap clean EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$work/client/cli-plugins" "$work/before" "$work/now"
# What is tested, and what stood before it, each in a folder of its own.
git ls-files --cached --others --exclude-standard -z | tar --null --files-from - --ignore-failed-read -c | tar -x -C "$work/now"
git archive "$before" | tar -x -C "$work/before" || skip "the commit $before is not in this clone, which the upgrade begins at: git fetch --unshallow"
cp "$plugin" "$work/client/cli-plugins/docker-compose"
go test -c -tags compose -o "$work/compose.test" ./story
export work cache cgroup
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client FLOWTALLY_COMPOSE_BEFORE=$work/before FLOWTALLY_COMPOSE_NOW=$work/now FLOWTALLY_COMPOSE_BUILD=$work/build.yml
unset DOCKER_CONTEXT
unshare --mount --pid --fork --kill-child --mount-proc "$0" inside &
engine=$!
wait "$engine"
