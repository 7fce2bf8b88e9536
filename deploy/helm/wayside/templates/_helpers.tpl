{{- define "wayside.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "wayside.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "wayside.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "wayside.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wayside.selector" -}}
app.kubernetes.io/name: {{ include "wayside.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wayside.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "wayside.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "wayside.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "wayside.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "wayside.image" -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository .tag -}}
{{- end -}}
{{- end -}}

{{- /* The context of every container of wayside: pod security "restricted", and a root that cannot be written. */ -}}
{{- define "wayside.securityContext" -}}
runAsUser: 65532
runAsGroup: 65532
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* None of the probes depends on the service behind wayside: that would be a circular dependency. */ -}}
{{- define "wayside.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
livenessProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 10
{{- end -}}

{{- /* The configuration file of the gateway: the settings that the chart makes, overridden by config. */ -}}
{{- define "wayside.config" -}}
{{- $v := .Values -}}
{{- $bytes := ternary $v.persistence.bytesMax $v.ephemeral.bytesMax (eq $v.kind "StatefulSet") -}}
{{- $own := dict "listen" ":8090" "service" (include "wayside.fullname" .) -}}
{{- $_ := set $own "data" (dict "dir" "/data" "bytes_max" $bytes "free_min" 0) -}}
{{- $_ := set $own "admin" (dict "listen" "127.0.0.1:8091" "probes" ":8092") -}}
{{- $_ := set $own "shutdown" (dict "timeout" (printf "%vs" $v.shutdown.timeoutSeconds) "delay" (printf "%vs" $v.shutdown.delaySeconds)) -}}
{{- if $v.archive.url -}}
{{- $archive := dict "url" $v.archive.url -}}
{{- if $v.archive.region -}}{{- $_ := set $archive "region" $v.archive.region -}}{{- end -}}
{{- $_ := set $own "archive" $archive -}}
{{- end -}}
{{- if $v.tls.secretName -}}
{{- $_ := set $own "tls" (dict "certificates" (list (dict "cert_file" "/tls/tls.crt" "key_file" "/tls/tls.key"))) -}}
{{- end -}}
{{- $theirs := deepCopy $v.config -}}
{{- if not (or $theirs.upstream $theirs.routes) -}}
{{- fail "set config.upstream, such as http://my-service:8080, or config.routes and config.upstreams" -}}
{{- end -}}
{{- if not $theirs.upstream -}}{{- $_ := unset $theirs "upstream" -}}{{- end -}}
{{- mergeOverwrite $own $theirs | toYaml -}}
{{- end -}}
