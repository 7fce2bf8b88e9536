#!/usr/bin/env bash
# helm-server.sh: checks that a real API server of Kubernetes, with etcd, accepts everything that Helm and Kustomize render, under pod security
# "restricted". The first call builds Helm, kubectl, etcd and the API server, which takes a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
mkdir -p bin
version="$(cd tools/kube && go list -m -f '{{.Version}}' k8s.io/kubernetes)"
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"
(cd tools/kube && go build -ldflags "$flags" -o "$root/bin/etcd" go.etcd.io/etcd/server/v3)
for program in kube-apiserver kubectl; do
	(cd tools/kube && go build -ldflags "$flags" -o "$root/bin/$program" "k8s.io/kubernetes/cmd/$program")
done
(cd tools/helm && go build -o "$root/bin/helm" helm.sh/helm/v3/cmd/helm)

scratch="$(mktemp -d)"
processes=()
finish() { # an API server without etcd would not end by itself
	((${#processes[@]} == 0)) || { kill -KILL "${processes[@]}" && wait "${processes[@]}"; } 2>/dev/null || true
	rm -rf "$scratch"
}
trap finish EXIT
(cd tools/helm && go build -o "$scratch/check" .)
cp -r deploy "$scratch/deploy"
mkdir "$scratch/rendered" "$scratch/crds"
export HELM_CACHE_HOME="$scratch/cache" HELM_CONFIG_HOME="$scratch/config" HELM_DATA_HOME="$scratch/data"
"$scratch/check" -render "$scratch/rendered" "$root/bin/helm" "$scratch/deploy/helm"
# The definition of PodMonitor is generated from the types of the Prometheus operator, as the operator itself does it.
(cd tools/helm && go tool controller-gen crd:crdVersions=v1 paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 \
	output:crd:dir="$scratch/crds")

# Ports below those of outgoing connections.
read -r etcd peer api < <(shuf -i 20000-29999 -n 3 | xargs)
"$root/bin/etcd" --data-dir "$scratch/etcd" --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
	--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
	--initial-cluster "default=http://127.0.0.1:$peer" --log-level error >"$scratch/etcd.log" 2>&1 &
processes+=($!)
token="$(openssl rand -hex 16)"
printf '%s,admin,admin,system:masters\n' "$token" >"$scratch/tokens"
openssl genrsa -out "$scratch/accounts.key" 2048 2>/dev/null
"$root/bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$api" \
	--cert-dir "$scratch/certs" --token-auth-file "$scratch/tokens" --authorization-mode RBAC --service-cluster-ip-range 10.96.0.0/16 \
	--service-account-issuer https://kubernetes.default --service-account-key-file "$scratch/accounts.key" \
	--service-account-signing-key-file "$scratch/accounts.key" >"$scratch/api.log" 2>&1 &
processes+=($!)
export KUBECONFIG="$scratch/kubeconfig"
kubectl() { "$root/bin/kubectl" "$@"; }
kubectl config set-cluster test --server "https://127.0.0.1:$api" --certificate-authority "$scratch/certs/apiserver.crt" >/dev/null
kubectl config set-credentials admin --token "$token" >/dev/null
kubectl config set-context test --cluster test --user admin >/dev/null
kubectl config use-context test >/dev/null
for ((i = 0; ; i++)); do
	[[ "$(kubectl get --raw /readyz 2>/dev/null)" == ok ]] && break
	if ((i == 120)) || ! kill -0 "${processes[@]}" 2>/dev/null; then
		tail -n 20 "$scratch/etcd.log" "$scratch/api.log" >&2
		exit 1
	fi
	sleep 1
done
kubectl version
# priorityClassName needs its class, and PodMonitor its definition.
kubectl create priorityclass high --value 1000
kubectl create -f "$scratch/crds/monitoring.coreos.com_podmonitors.yaml"
kubectl wait --for condition=Established --timeout 60s customresourcedefinition/podmonitors.monitoring.coreos.com

objects=0 pods=0 refused=0
for file in "$scratch"/rendered/*.yaml; do
	name="$(basename "$file" .yaml)"
	[[ "$name" == *.pod ]] && continue
	printf '\n%s\n' "$name"
	kubectl create namespace "$name" >/dev/null
	kubectl label namespace "$name" pod-security.kubernetes.io/{enforce,warn}=restricted >/dev/null
	# Pod security refuses pods and warns about workloads: such a warning is an error here, and the pod of each workload is created, too.
	# The controllers that would create the account of a pod are not running.
	for manifest in "$file" "${file%.yaml}.pod.yaml"; do
		if [[ "$manifest" == *.pod.yaml ]]; then
			account="$(kubectl create --dry-run=client --validate=false -f "$manifest" -o jsonpath='{.spec.serviceAccountName}')"
			kubectl create --namespace "$name" serviceaccount "${account:-default}" >/dev/null
		fi
		if kubectl apply --server-side --dry-run=server --validate=strict --warnings-as-errors --namespace "$name" -f "$manifest" |
			tee "$scratch/accepted"; then
			[[ "$manifest" == *.pod.yaml ]] && pods=$((pods + 1))
			objects=$((objects + $(wc -l <"$scratch/accepted")))
		else
			refused=$((refused + 1))
		fi
	done
done
if ((refused > 0 || pods == 0)); then
	echo "helm-server: the API server refuses objects in $refused files" >&2
	exit 1
fi
echo
echo "an API server $version accepts all: $objects objects, $pods of them pods, with pod security restricted"
