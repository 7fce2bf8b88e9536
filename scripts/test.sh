#!/usr/bin/env bash
# Runs the tests with the race detector and says plainly how it ended. Arguments go to go test; without any, all
# packages. It takes Go, git, gcc (for the race detector) and nginx, haproxy and node (which the proxy is
# compared with); everything else is built from source, a real S3 server (tools/go.mod) included.
set -uo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh gcc:gcc nginx:nginx-light haproxy:haproxy node:nodejs || exit 1
[[ -e /usr/include/stdlib.h ]] || scripts/need.sh no-headers:libc6-dev || exit 1

# The longest first, so that the others run beside them.
(($#)) || set -- ./test/e2e/... ./uploader/... ./collector/store ./...
begin=$SECONDS
# One hung test must not take the others' report with it: below the time a CI job has.
CGO_ENABLED=1 go test -race -timeout 12m "$@"
status=$?
took=$((SECONDS - begin))
echo
if ((status == 0)); then
	echo "PASSED: all tests, race detector on, in ${took} s"
else
	echo "FAILED: see the lines that begin with FAIL or --- FAIL above (${took} s)" >&2
fi
exit "$status"
