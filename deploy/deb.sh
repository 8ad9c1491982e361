#!/usr/bin/env bash
# Builds flowtally_VERSION_ARCHITECTURE.deb here, from ./flowtally, the systemd units and
# deploy/debian. make deb calls it. It needs dpkg-deb and nothing from the network.
#
#   deploy/deb.sh [BINARY [DIRECTORY]]
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${1:-flowtally}") to=${2:-.}
if ! command -v dpkg-deb >/dev/null; then
	echo "deb: dpkg-deb is not installed: build on Debian or Ubuntu, or install the package dpkg" >&2
	exit 1
fi
architecture=$(dpkg --print-architecture)
# All files have the time of the commit, so that the same source gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

# Debian's versions begin with a digit and grow.
described=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
case $described in
v[0-9]* | [0-9]*.*) version=$(sed 's/^v//; s/-/+/; s/-/./g' <<<"$described") ;;
*) version=0.0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).${described//-/.} ;;
esac
version=${DEB_VERSION:-$version}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
root=$work/root
doc=$root/usr/share/doc/flowtally

install -D -m 755 "$binary" "$root/usr/bin/flowtally"
for unit in deploy/systemd/*.service; do
	install -D -m 644 "$unit" "$root/usr/lib/systemd/system/${unit##*/}"
done
install -d -m 755 "$root/etc/flowtally"
for file in deploy/debian/*.env; do
	install -m 600 "$file" "$root/etc/flowtally/${file##*/}"
done
install -D -m 644 deploy/debian/README.Debian "$doc/README.Debian"
find README.md docs -type f | while read -r file; do
	install -D -m 644 "$file" "$doc/$file"
done
install -D -m 644 deploy/debian/lintian-overrides "$root/usr/share/lintian/overrides/flowtally"
gzip -9n <CHANGELOG.md >"$doc/NEWS.gz"
{
	printf 'flowtally (%s) unstable; urgency=medium\n\n  * See NEWS.gz.\n\n' "$version"
	printf ' -- flowtally <flowtally@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
{
	printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
	printf 'Copyright: 2026, the flowtally authors\nLicense: BSD-2-Clause\n'
	sed -n '/^Redistribution/,$s/^$/./; /^Redistribution/,$s/^/ /p' LICENSE
} >"$doc/copyright"
# What the program says of itself: only one that runs here can.
if completion=$("$binary" completion bash 2>/dev/null); then
	install -d -m 755 "$root/usr/share/bash-completion/completions"
	printf '%s\n' "$completion" >"$root/usr/share/bash-completion/completions/flowtally"
	"$binary" man --log-level warn "$root/usr/share/man/man1"
	gzip -9n "$root"/usr/share/man/man1/*
fi

install -d -m 755 "$root/DEBIAN"
for script in postinst prerm postrm; do
	install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find etc -type f | sort | sed 's,^,/,') >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
	-e "s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f1)/" deploy/debian/control >"$root/DEBIAN/control"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

file=$to/flowtally_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$file" >/dev/null
echo "$file"
