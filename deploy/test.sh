#!/usr/bin/env bash
# Runs every test and says at the end what was skipped and why. make test calls it.
#
# PACKAGES names some of Go's packages instead of all.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.tools/bin:$PATH:/usr/local/go/bin:/usr/sbin
export PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/skipped"
failed=()

step() { printf '\n== %s\n' "$1"; }

step "go test -race"
# -v is where the reasons are; who reads along sees packages and failures only.
read -ra packages <<<"${PACKAGES:-./...}"
if ! go test -race -v -timeout 20m "${packages[@]}" 2>&1 |
	awk -v skipped="$work/skipped" -v counts="$work/counts" '
	/^=== / { current = $3; next }
	/^ *--- PASS: / { pass++; next }
	/^ *--- SKIP: / { skip++; print $3 ": " ($3 in reason ? reason[$3] : "no reason given") >> skipped; next }
	/^ *--- FAIL: / { fail++ }
	/_test\.go:[0-9]+: / { said = $0; sub(/^.*_test\.go:[0-9]+: /, "", said); reason[current] = said }
	/^ok  |^\?   |no test files/ { print; fflush(); kept = ""; next }
	/^FAIL\t|^panic: |^# / { printf "%s%s\n", kept, $0; fflush(); kept = ""; next }
	{ kept = kept $0 "\n" }
	END { printf "%s", kept; printf "%d passed, %d failed, %d skipped\n", pass, fail, skip > counts }'; then
	failed+=("go test")
fi

step "other decoders agree"
# A module of its own: nothing of theirs comes into the binary.
go -C netflow/interop test ./... || failed+=("other decoders")

step "console: check, tests, build"
(cd web/ui && npm run --silent check && npm run --silent test) || failed+=("console")

step "the page in Chromium"
status=0
deploy/e2e.sh 2>&1 | tee "$work/e2e" || status=$?
case $status in
0) ;;
77) tail -n 1 "$work/e2e" >>"$work/skipped" ;;
*) failed+=("page in Chromium") ;;
esac

step "result"
if [ -s "$work/skipped" ]; then
	echo "skipped:"
	sed 's/^/  /' "$work/skipped"
else
	echo "skipped: nothing"
fi
cat "$work/counts"
if [ ${#failed[@]} -gt 0 ]; then
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
fi
echo "all is well"
