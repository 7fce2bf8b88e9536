#!/usr/bin/env bash
# release-files.sh DIR: makes the files of a release besides the binaries: completions, a man page for each command from its help, the
# systemd unit with the path of the packages, their configuration file, copyright file and changelog. The same source gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:?usage: release-files.sh DIR}"
rm -rf "$out"
mkdir -p "$out/completions" "$out/man"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
wayside="$scratch/wayside"
CGO_ENABLED=0 GOOS='' GOARCH='' go build -trimpath -o "$wayside" ./cmd/wayside

for shell in bash zsh fish; do "$wayside" completion "$shell" >"$out/completions/wayside.$shell"; done
sed 's#/usr/local/bin/#/usr/bin/#; s#^\# wayside as a systemd service\. Install.*#\# wayside as a systemd service. The#' \
	configs/wayside.service >"$out/wayside.service"
"$wayside" config example standalone >"$out/wayside.yaml"
{
	printf 'Source: https://github.com/wayside-proxy/wayside\n\n'
	cat NOTICE
	printf '\nOn Debian, the license is in /usr/share/common-licenses/Apache-2.0.\n'
} >"$out/copyright"
gzip -9n <CHANGELOG.md >"$out/changelog.gz"

# page DESCRIPTION [WORD…]: writes the man page of a command, and those of its subcommands.
page() {
	local description="$1" name help child words
	shift
	name="$(IFS=-; echo "wayside${*:+-$*}")"
	help="$("$wayside" "$@" --help)"
	{
		printf '.TH "%s" 1 "" wayside wayside\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n' "${name^^}" "${name//-/\\-}" "$description"
		# Headings of the help become sections, and the lines of a flag or a command become an entry. "Use … for more" is left out.
		sed 's/\\/\\\\/g; s/-/\\-/g; s/^\([.'\'']\)/\\\&\1/' <<<"$help" | awk '
			/^Use "/ { next }
			/^[A-Z][A-Za-z ]*:$/ {
				sub(/:$/, "")
				print ".SH", toupper($0)
				list = /^(Flags|Available)/
				verbatim = !list
				if (verbatim) print ".nf"
				next
			}
			/^$/ { if (verbatim) print ".fi"; verbatim = list = 0; print ".PP"; next }
			list { sub(/^ +/, ""); entry = $0; sub(/  .*/, "", entry); print ".TP\n\\fB" entry "\\fR"; sub(/^.*[^ ]  +/, ""); print; next }
			/^ / && !verbatim { print ".br" }
			{ print }
			END { if (verbatim) print ".fi" }'
		if (($#)); then printf '.SH SEE ALSO\nwayside(1)\n'; fi
	} | gzip -9n >"$out/man/$name.1.gz"
	awk '/^Available Commands:/ { on = 1; next } /^$/ { on = 0 } on { child = $1; $1 = ""; print child $0 }' <<<"$help" |
		while read -r child words; do
			[[ "$child" == help || "${1:-}" == completion ]] || page "$words" "$@" "$child"
		done
}
page "a reverse proxy that keeps the books"
