#!/usr/bin/env bash
# dashboard.sh build | check | shots: builds or checks collector/api/dashboard with the tools that its package-lock.json pins.
#
#   build   check types, and write the files that wayside embeds
#   check   check types; fail if the committed files differ from what the sources build to; then drive the dashboard in
#           Chromium on demo traffic (drive.mjs)
#   shots   the long form of check: every view, both themes and phone width, with screenshots in bin/shots
#
# Exits with 77 and a message if there is no npm, or no registry from which to get the tools. In that case nothing was checked.
set -euo pipefail
cd "$(dirname "$0")/../collector/api/dashboard"

skip() {
	echo "SKIPPED: $1: the dashboard's sources were NOT compared with its built files, and it was NOT tested in a browser" >&2
	exit 77
}

command -v npm >/dev/null && command -v node >/dev/null || skip "no npm"
if [[ ! -x node_modules/.bin/esbuild || package-lock.json -nt node_modules/.package-lock.json ]]; then
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || skip "npm ci failed"
fi
node_modules/.bin/tsc --noEmit -p .
set -- "${1:-check}"
case "$1" in
build) node build.mjs ;;
check | shots)
	node build.mjs --check
	echo "the built files match their sources"
	if [[ "$1" == check ]]; then exec node drive.mjs; fi
	mkdir -p ../../../bin/shots
	exec node drive.mjs --hours 40 --shots "$(cd ../../../bin/shots && pwd)"
	;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "../../../scripts/dashboard.sh" >&2
	exit 2
	;;
esac
