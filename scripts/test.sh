#!/usr/bin/env bash
# Runs the tests with the race detector and prints a clear result. Arguments are passed to go test; without arguments, it tests
# all packages. It needs Go, git, gcc (for the race detector), nginx, haproxy and node (with which the proxy is compared), and what the
# commands in docs/ use: curl, openssl and python3.
# Everything else is built from source, including a real S3 server (tools/go.mod).
set -uo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh gcc:gcc nginx:nginx-light haproxy:haproxy node:nodejs curl:curl openssl:openssl python3:python3 || exit 1
[[ -e /usr/include/stdlib.h ]] || scripts/need.sh no-headers:libc6-dev || exit 1
all=$((!$#))
# Without these, the checks of metrics, alert rules and queries are skipped, and say so.
((all)) && { scripts/promtool.sh || (($? == 77)) || exit 1; }
begin=$SECONDS

# Several packages test the real binary. It is built only once, here, in each of its three forms. The name of the folder depends on
# its contents, so that go test does not reuse cached results for another binary (test/e2e, Build).
build() { go build -buildvcs=false -o "bin/test/new/$1" "${@:2}" ./cmd/wayside; }
rm -rf bin/test
mkdir -p bin/test/new
CGO_ENABLED=0 build wayside && CGO_ENABLED=1 build wayside-race -race && CGO_ENABLED=0 build wayside-faults -tags faults || exit 1
hash="$(cat bin/test/new/* | sha256sum | cut -c1-16)"
mv bin/test/new "bin/test/$hash"
export WAYSIDE_INTERNAL_TEST_BINARIES="$PWD/bin/test/$hash"

# Unless this is set, a program with the race detector sleeps for a second before it exits. The tests run hundreds of them.
export GORACE="${GORACE:-} atexit_sleep_ms=20"

# The slowest packages come first, so that the others run at the same time.
((all)) && set -- ./test/e2e/... ./uploader/... ./cmd/wayside ./collector/store ./...
# A test that hangs must not hide the results of the others, so the limit is less than the time limit of a CI job. On a quiet machine,
# the slowest package takes five minutes.
CGO_ENABLED=1 go test -race -timeout 30m "$@"
status=$?
if ((all)); then
	# The tests above use event loops and no TLS. What a response looks like, and what is recorded, must not depend on either. These two passes
	# wait for most of their time, so they run side by side.
	passes="$(mktemp -d)"
	trap 'rm -rf "$passes"' EXIT
	CGO_ENABLED=1 go test -race -timeout 30m ./proxy -args -tls >"$passes/tls" 2>&1 &
	CGO_ENABLED=1 go test -race -timeout 30m ./proxy ./proxy/difftest -args -driver goroutine >"$passes/goroutine" 2>&1 || status=1
	wait $! || status=1
	echo "second pass: proxy and proxy/difftest with a goroutine for each connection"
	cat "$passes/goroutine"
	echo "third pass: proxy over TLS"
	cat "$passes/tls"
fi
took=$((SECONDS - begin))
echo
if ((status == 0)); then
	echo "PASSED: all tests with the race detector, in ${took} s"
else
	echo "FAILED: see the lines that begin with FAIL or --- FAIL above (${took} s)" >&2
fi
exit "$status"
