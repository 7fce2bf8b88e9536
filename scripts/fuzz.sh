#!/usr/bin/env bash
# fuzz.sh DURATION: runs every fuzz target of the module for this duration, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
duration="${1:-60s}"
count=0
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
while IFS=: read -r file line; do
	target="$(sed -E 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/' <<<"$line")"
	echo "== $target in $(dirname "$file") for $duration"
	# By default, minimizing an input may take a minute each time, which is longer than the search itself.
	# On a busy machine, go test may report that its own deadline has passed at the end of the time (go.dev/issue/75804, fixed in Go 1.27). That is no finding.
	if ! go test -run '^$' -fuzz "^${target}\$" -fuzztime "$duration" -fuzzminimizetime 10x "./$(dirname "$file")" | tee "$log"; then
		grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input' "$log" || exit 1
	fi
	count=$((count + 1))
done < <(grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(f \*testing\.F\)' --exclude-dir=tools . | sed 's|^\./||')
echo "PASSED: $count fuzz targets, $duration each"
