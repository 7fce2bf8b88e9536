#!/bin/sh
# Stops wayside before a removal (the argument is "remove" for dpkg, 0 for rpm), but not before an upgrade.
set -e
if [ -d /run/systemd/system ]; then
	case "$1" in
	remove | 0) systemctl disable --now wayside.service wayside.socket || true ;;
	esac
fi
