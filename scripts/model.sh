#!/usr/bin/env bash
# Runs random operations on the spool and on the store and compares each with a model, a map. It prints the seed of each round and
# appends the result to docs/evidence/model.md.
#
#   scripts/model.sh [STEPS] [SEED]      by default a million steps, which take about ten minutes; each gets half of them
#
# To repeat a failed round, run the command that it prints. TMPDIR is in memory (/dev/shm), which spares the disk; crashes are tested
# elsewhere (test/faults).
set -euo pipefail
cd "$(dirname "$0")/.."
want=${1:-1000000}
seed=${2:-$RANDOM$RANDOM}
evidence="${EVIDENCE-docs/evidence/model.md}"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
export TMPDIR="${TMPDIR:-/dev/shm}"
commit="$(git rev-parse --short=12 HEAD)"
git diff --quiet HEAD -- . ':!docs' || commit="$commit+"

model() { # PACKAGE: runs rounds until half of the steps are done
	local package=$1 steps=0 round=0 made
	go test -c -o "$dir/$(basename "$package").test" "$package"
	while ((steps < want / 2)); do
		local round_seed=$((seed + round))
		local command=("$dir/$(basename "$package").test" -test.run '^TestModel$' -test.v -test.timeout 20m -rapid.nofailfile -rapid.checks 150 -rapid.steps 150 -rapid.seed "$round_seed")
		if ! (cd "$package" && "${command[@]}") >"$dir/log" 2>&1; then
			grep -v 'rapid\] draw' "$dir/log" | head -n 20 >&2
			row "$package" "$steps" "$round_seed" "FAILS: go test $package -run TestModel -rapid.checks 150 -rapid.steps 150 -rapid.seed $round_seed"
			return 1
		fi
		made="$(sed -n 's/.*model: \([0-9]*\) steps.*/\1/p' "$dir/log")"
		((steps += made, round += 1))
	done
	row "$package" "$steps" "$seed to $((seed + round - 1))" holds
}

row() {
	printf '| %s | %s | %s | %s | %s | %s |\n' "$(date -u '+%F %H:%M')" "$1" "$2" "$3" "$commit" "$4" | tee -a "${evidence:-/dev/null}"
}

if [[ -n "$evidence" && ! -e "$evidence" ]]; then
	cat >"$evidence" <<'END'
# Evidence: model

Random operations on the spool and on the store, compared with maps after each step (`make model`). A commit with a "+" was
not clean.

| when (UTC) | package | steps | seeds | commit | result |
|---|---|---|---|---|---|
END
fi
model ./spool
model ./collector/store
