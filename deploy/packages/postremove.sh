#!/bin/sh
# A removal keeps the configuration and the books. Only `apt purge` (dpkg calls this script with "purge") deletes them: the books, the
# archive if it is in the data directory, and the file with credentials. Other filesystems that are mounted below the data directory are
# left alone. The user remains, because files that belong to it may remain elsewhere. rpm has no purge, so it never deletes the books.
set -e
if [ "$1" = purge ]; then
	rm -rf --one-file-system /var/lib/wayside || echo "some files in /var/lib/wayside could not be deleted" >&2
	rm -f /etc/wayside/environment
	rmdir --ignore-fail-on-non-empty /etc/wayside 2>/dev/null || true
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
