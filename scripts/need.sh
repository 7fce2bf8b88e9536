#!/usr/bin/env bash
# need.sh PROGRAM PACKAGE [PROGRAM PACKAGE …]: ends with an error that says how to install what is missing.
set -euo pipefail
missing=()
while (($# >= 2)); do
	command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] || missing+=("$2")
	shift 2
done
if ((${#missing[@]})); then
	echo "missing: ${missing[*]}. On Debian: apt-get install ${missing[*]}" >&2
	exit 1
fi
