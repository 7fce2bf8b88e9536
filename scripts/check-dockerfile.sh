#!/usr/bin/env bash
# Builds and runs the Dockerfile's image without a container engine: see scripts/dockercheck. It needs root, for mounts and namespaces.
# Without root it prints a message and exits with 77, the conventional code for a skipped check.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "$(uname -s)" != Linux || "$(id -u)" != 0 ]]; then
	echo "************************************************************************" >&2
	echo "SKIPPED: the Dockerfile was NOT checked. The check needs Linux and root." >&2
	echo "Run: sudo $0" >&2
	echo "************************************************************************" >&2
	exit 77
fi

binary="$(mktemp -d)/dockercheck"
trap 'rm -rf "$(dirname "$binary")"' EXIT
CGO_ENABLED=0 go build -o "$binary" ./scripts/dockercheck
"$binary" "$@"
