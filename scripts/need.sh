#!/usr/bin/env bash
# need.sh PROGRAM:PACKAGE …: checks that programs are installed. As root on Debian, it installs the packages of missing programs;
# otherwise it says what to install, and fails.
set -euo pipefail
missing=()
for pair in "$@"; do
	program="${pair%%:*}"
	command -v "$program" >/dev/null || [[ -x "/usr/sbin/$program" ]] || missing+=("${pair##*:}")
done
((${#missing[@]})) || exit 0
if [[ "$(id -u)" != 0 ]] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}. On Debian: apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
