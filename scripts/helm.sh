#!/usr/bin/env bash
# helm.sh: lints and renders the charts with Helm over a matrix of values, decodes the results strictly into the types of the Kubernetes API,
# and checks each configuration with wayside. The first call builds Helm, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
mkdir -p bin
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
(cd tools/helm && go build -o "$root/bin/helm" helm.sh/helm/v3/cmd/helm && go build -o "$scratch/check" .)
CGO_ENABLED=0 go build -o "$scratch/wayside" ./cmd/wayside
cp -r deploy "$scratch/deploy"
mkdir "$scratch/configs"
export HELM_CACHE_HOME="$scratch/cache" HELM_CONFIG_HOME="$scratch/config" HELM_DATA_HOME="$scratch/data"
"$scratch/check" "$root/bin/helm" "$scratch/deploy/helm" "$scratch/configs"
mkdir "$scratch/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=shop -addext subjectAltName=DNS:shop -days 30 \
	-keyout "$scratch/tls/tls.key" -out "$scratch/tls/tls.crt" 2>/dev/null
for file in "$scratch"/configs/*.yaml; do
	sed -i "s#/tls/tls#$scratch/tls/tls#" "$file"
	"$scratch/wayside" config check "$file"
done
