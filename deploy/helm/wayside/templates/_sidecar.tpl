{{- /*
Templates for a native sidecar in a pod of your own chart. Add this chart as a dependency with the values `wayside: {enabled: false}`, and
in your pod:

  spec:
    terminationGracePeriodSeconds: 60   # your app's own shutdown, and timeout and margin of the sidecar
    initContainers:
      {{- include "wayside.sidecar.container" $sidecar | nindent 6 }}
    volumes:
      {{- include "wayside.sidecar.volumes" $sidecar | nindent 6 }}
    securityContext: {fsGroup: 65532}   # makes the volume writable for wayside

and a ConfigMap with `include "wayside.sidecar.config" $sidecar`, where $sidecar is

  (dict "image" "ghcr.io/wayside-proxy/wayside:0.1.0" "configMap" "NAME OF THE CONFIGMAP" "service" "shop" "config" (dict "upstream" "http://127.0.0.1:8080"))

Further keys: timeoutSeconds (25), sizeLimit (2Gi), bytesMax (1GiB), resources, env, and volume, the name of a volume of the pod for the
books instead of an emptyDir. The Service of your pod must send requests to port 8090.
*/ -}}

{{- define "wayside.sidecar.container" -}}
- name: wayside
  image: {{ required "image of the sidecar" .image }}
  imagePullPolicy: {{ default "IfNotPresent" .pullPolicy }}
  args: [run, --config, /etc/wayside/wayside.yaml]
  # Makes it a native sidecar: it starts before the app and stops after it.
  restartPolicy: Always
  env:
    - name: WAYSIDE_INSTANCE
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: http, containerPort: 8090}
    - {name: probes, containerPort: 8092}
  {{- include "wayside.probes" . | nindent 2 }}
  resources:
    {{- default (dict "requests" (dict "cpu" "100m" "memory" "96Mi" "ephemeral-storage" (default "2Gi" .sizeLimit)) "limits" (dict "memory" "256Mi")) .resources | toYaml | nindent 4 }}
  securityContext:
    {{- include "wayside.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: {{ default "wayside-data" .volume }}, mountPath: /data}
    - {name: wayside-config, mountPath: /etc/wayside, readOnly: true}
{{- end -}}

{{- define "wayside.sidecar.volumes" -}}
{{- if not .volume -}}
- name: wayside-data
  emptyDir: {sizeLimit: {{ default "2Gi" .sizeLimit }}}
{{ end -}}
- name: wayside-config
  configMap: {name: {{ required "configMap of the sidecar" .configMap }}}
{{- end -}}

{{- /* The file wayside.yaml. */ -}}
{{- define "wayside.sidecar.config" -}}
{{- $own := dict "service" (required "service of the sidecar" .service) -}}
{{- $_ := set $own "data" (dict "dir" "/data" "bytes_max" (default "1GiB" .bytesMax) "free_min" 0) -}}
{{- $_ := set $own "admin" (dict "listen" "127.0.0.1:8091" "probes" ":8092") -}}
{{- $_ := set $own "shutdown" (dict "timeout" (printf "%vs" (default 25 .timeoutSeconds))) -}}
{{- mergeOverwrite $own (deepCopy .config) | toYaml -}}
{{- end -}}
