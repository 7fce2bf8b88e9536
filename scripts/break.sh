#!/usr/bin/env bash
# Shows that a proof can fail: breaks one line of the committed code in a scratch clone, runs a command there and wants it
# to fail.
#
#   scripts/break.sh FILE SED-EXPRESSION COMMAND...
#   scripts/break.sh uploader/object.go 's/gzipLevel = 2/gzipLevel = 9/' go run ./test/bench -max-ratio 1.25
#
# Exits 0 when the command failed, and appends what was broken and what was seen to docs/evidence/breaks.md; exits 1 when
# the command passed in spite of the break. EVIDENCE= (empty) appends nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
(($# >= 3)) || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
file=$1 expression=$2
shift 2
evidence="${EVIDENCE-docs/evidence/breaks.md}"

scratch="$(mktemp -d "${TMPDIR:-/tmp}/wayside-break-XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # servers that give up root must get in
git clone -q . "$scratch/clone"
commit="$(git rev-parse --short=12 HEAD)"
log="$scratch/log"
cd "$scratch/clone"
sed -i -E "$expression" "$file"
changed="$(git diff --numstat | awk '{ added += $1; removed += $2 } END { print added + 0, removed + 0 }')"
case "$changed" in
"1 1" | "0 1" | "1 0") ;;
*)
	echo "break.sh: not one line changed in $file, but (added removed) $changed" >&2
	exit 2
	;;
esac
git diff -U0 | sed -n '/^[-+][^-+]/p'
build=(go test -run "^$") # what does not compile shows nothing
[[ "$file" == *.go ]] || build=(true)
"${build[@]}" "./$(dirname "$file")" >"$log" 2>&1 || { cat "$log"; echo "break.sh: $file does not build like this" >&2; exit 2; }
status=0
"$@" >"$log" 2>&1 || status=$?
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
