#!/usr/bin/env bash
# promtool.sh: puts promtool and prometheus into bin/ unless they are already installed. It extracts them from Debian's prometheus package,
# without installing the package. If that fails, it prints a message and exits with 77.
set -euo pipefail
cd "$(dirname "$0")/.."
have() { command -v "$1" >/dev/null || [[ -x "bin/$1" ]]; }
if have promtool && have prometheus; then exit 0; fi
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
if ! command -v apt-get >/dev/null || ! (cd "$scratch" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg -x prometheus_*.deb unpacked) >/dev/null 2>&1; then
	echo "SKIPPED: no promtool and no prometheus: metrics, alert rules and queries will NOT be checked" >&2
	exit 77
fi
mkdir -p bin
cp "$scratch/unpacked/usr/bin/promtool" "$scratch/unpacked/usr/bin/prometheus" bin/
