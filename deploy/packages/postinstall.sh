#!/bin/sh
# Creates the user and the data directory. A running wayside continues with the new program. A wayside that is not running is not started,
# because it needs the address of its upstream first.
set -e
if [ "$1" = abort-upgrade ] || [ "$1" = abort-remove ] || [ "$1" = abort-deconfigure ]; then
	exit 0
fi
if ! getent passwd wayside >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin wayside
fi
# If the directory exists, its owner may have been changed together with the user of the unit.
if [ ! -e /var/lib/wayside ]; then
	install -d -m 750 -o wayside -g wayside /var/lib/wayside
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart wayside.service || echo "wayside could not be restarted: see journalctl -u wayside" >&2
fi
