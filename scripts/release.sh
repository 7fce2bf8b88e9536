#!/usr/bin/env bash
# release.sh check | snapshot | twice | older | publish: runs GoReleaser. The first call builds GoReleaser and syft (ten minutes).
#   check     checks .goreleaser.yaml
#   snapshot  builds a release from the working tree into dist/, and publishes nothing
#   twice     builds the last commit in two folders; the second time with an empty build cache, and with another umask, time zone and
#             locale. All files must have the same hashes. Leaves those of the first build in dist/
#   older     builds packages of an older commit into dist/older/, from which an upgrade can be tried
#   publish   builds a release from a tag, and uploads it to GitHub as a draft (GITHUB_TOKEN)
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
mkdir -p bin
go build -C tools/goreleaser -trimpath -o "$root/bin/goreleaser" github.com/goreleaser/goreleaser/v2
syft_version="$(go list -C tools/syft -m -f '{{.Version}}' github.com/anchore/syft)"
go build -C tools/syft -trimpath -ldflags "-X main.version=$syft_version" -o "$root/bin/syft" github.com/anchore/syft/cmd/syft
export PATH="$root/bin:$PATH"
# The same Go everywhere, also where a newer one is installed.
GOTOOLCHAIN="$(sed -n 's/^toolchain //p' go.mod)"
export GOTOOLCHAIN

scratch="$(mktemp -d "${TMPDIR:-/tmp}/wayside-release-XXXXXX")"
trap 'rm -rf "$scratch"' EXIT

twice() {
	git clone -q . "$scratch/one"
	(umask 077 && git clone -q . "$scratch/another")
	(cd "$scratch/one" && goreleaser release --snapshot --clean)
	(
		cd "$scratch/another"
		umask 077
		GOCACHE="$scratch/cache" TZ=Asia/Kolkata LC_ALL=C.UTF-8 goreleaser release --snapshot --clean
	)
	rm -rf dist
	cp -r "$scratch/one/dist" dist
	diff "$scratch/one/dist/SHA256SUMS" "$scratch/another/dist/SHA256SUMS" || { echo "release.sh: the two builds differ" >&2; exit 1; }
	(cd "$scratch/another/dist" && sha256sum --quiet --check SHA256SUMS)
	cat dist/SHA256SUMS
	echo "built twice, in two folders: the same hashes"
}

older() {
	# The oldest commit with the units of today: systemd waits for a notification from wayside.
	git clone -q . "$scratch/older"
	git -C "$scratch/older" checkout -q 62319554
	cp -r --parents .goreleaser.yaml deploy/packages scripts/release-files.sh scripts/sbom.sh "$scratch/older"
	(cd "$scratch/older" && goreleaser release --snapshot --clean --skip sbom)
	mkdir -p dist
	rm -rf dist/older
	cp -r "$scratch/older/dist" dist/older
}

case "${1:-}" in
check) goreleaser check ;;
snapshot) goreleaser release --snapshot --clean ;;
twice) twice ;;
older) older ;;
publish) goreleaser release --clean ;;
*)
	sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
