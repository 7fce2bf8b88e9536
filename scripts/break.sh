#!/usr/bin/env bash
# Shows that a proof can fail: runs a command on the committed code in a scratch clone, where it must pass, then breaks one line
# and runs it again. This time it must fail.
#
#   scripts/break.sh FILE SED-EXPRESSION COMMAND...
#   scripts/break.sh uploader/object.go 's/gzipLevel = 2/gzipLevel = 9/' go run ./test/bench -loads full/64 -only wayside,nginx
#
# Exits with 0 if the broken code fails, and appends the break and the failure to docs/evidence/breaks.md. Exits with 1 if it passes,
# and with 2 if nothing was shown: more than one line changed, the broken code does not build, or the command fails or runs no test
# without the break. If EVIDENCE is set but empty, nothing is appended.
set -euo pipefail
cd "$(dirname "$0")/.."
(($# >= 3)) || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
file=$1 expression=$2
shift 2
evidence="${EVIDENCE-docs/evidence/breaks.md}"

scratch="$(mktemp -d "${TMPDIR:-/tmp}/wayside-break-XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # servers that give up root need access
git clone -q . "$scratch/clone"
commit="$(git rev-parse --short=12 HEAD)"
log="$scratch/log"
cd "$scratch/clone"

nothing() { # MESSAGE: nothing was shown
	tail -n "${TAIL:-6}" "$log" >&2
	echo "break.sh: $1" >&2
	exit 2
}
sed -i -E "$expression" "$file"
changed="$(git diff --numstat | awk '{ added += $1; removed += $2 } END { print added + 0, removed + 0 }')"
: >"$log"
case "$changed" in
"1 1" | "0 1" | "1 0") ;;
*) nothing "expected one changed line in $file, but (added removed): $changed" ;;
esac
git diff -U0 | sed -n '/^[-+][^-+]/p'
if [[ "$file" == *.go ]]; then # code that does not build does not count as a failed proof
	{ go build ./... && go test -run '^$' "./$(dirname "$file")"; } >"$log" 2>&1 || nothing "$file does not build like this"
fi
git diff >"$scratch/break.patch"
git checkout -q .
"$@" >"$log" 2>&1 || nothing "the command fails without the break: $*"
if grep -qE 'no tests to run|no test files' "$log" && ! grep '^ok' "$log" | grep -qv 'no tests to run'; then
	nothing "the command runs no test: $*"
fi
git reset -q --hard && git clean -qfdx # removes files that the command left behind
git apply "$scratch/break.patch"
status=0
"$@" >"$log" 2>&1 || status=$?
if ((status != 0)) && grep -qE '\[(build|setup) failed\]' "$log"; then nothing "the command does not build with the break: $*"; fi
tail -n "${TAIL:-6}" "$log"
if ((status == 0)); then
	echo "break.sh: GREEN in spite of the break: $*" >&2
	exit 1
fi
seen="$(grep -m1 -E -e "${SEEN:-^e2e: |^bench: |: FAILED|--- FAIL|^FAIL|panic:}" "$log" | tr '|\t' '/ ' | cut -c1-200)" || true
echo "break.sh: red, as it should be (exit $status): $seen"
if [[ -n "$evidence" ]]; then
	cd - >/dev/null
	line="$(cd "$scratch/clone" && git diff -U0 | sed -n 's/^+\([^+].*\)/\1/p' | tr '|\t' '/ ' | sed 's/^ *//' | cut -c1-120)"
	printf '| %s | %s | %s | `%s` | `%s` | exit %s: %s |\n' "$(date -u +%F)" "$commit" "$file" "${line:-line removed}" "$*" "$status" "$seen" >>"$evidence"
fi
