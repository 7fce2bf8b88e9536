#!/usr/bin/env bash
# sbom.sh ARCHIVE DOCUMENT VERSION DATE: writes the bill of materials of an archive in CycloneDX format. GoReleaser calls it, in dist/.
#
# syft writes the current time and a random serial number. The commit's time replaces the time, and the number is removed, so that the
# same commit gives the same document. The version of wayside itself is not in the binary's list of modules, so it is added. Licenses come
# from the module cache, nothing from the network.
set -euo pipefail
export SYFT_CHECK_FOR_APP_UPDATE=false SYFT_GOLANG_SEARCH_LOCAL_MOD_CACHE_LICENSES=true SYFT_FORMAT_PRETTY=true
syft scan "file:$1" --quiet --source-name wayside --source-version "$3" --output cyclonedx-json |
	sed -e '/^  "serialNumber": /d' -e "s/^    \"timestamp\": \".*\"/    \"timestamp\": \"$4\"/" \
		-e "s/\"version\": \"UNKNOWN\"/\"version\": \"$3\"/" >"$2"
grep -q "^    \"timestamp\": \"$4\"" "$2" || { echo "sbom.sh: $2 has no timestamp that could be replaced" >&2; exit 1; }
! grep -q serialNumber "$2" || { echo "sbom.sh: $2 still has a serial number" >&2; exit 1; }
