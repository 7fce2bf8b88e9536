#!/usr/bin/env bash
# Runs the tests with the race detector and prints the result. Arguments go to go test; without any, it tests all packages. It needs
# Go, git, gcc (for the race detector) and nginx, haproxy and node (with which the proxy is compared). Everything else is built
# from source, including a real S3 server (tools/go.mod).
set -uo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh gcc:gcc nginx:nginx-light haproxy:haproxy node:nodejs || exit 1
[[ -e /usr/include/stdlib.h ]] || scripts/need.sh no-headers:libc6-dev || exit 1

# The longest first, so that the others run at the same time.
(($#)) || set -- ./test/e2e/... ./uploader/... ./collector/store ./...
begin=$SECONDS
# A hung test must not prevent the report of the others, so the timeout is below that of a CI job.
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
