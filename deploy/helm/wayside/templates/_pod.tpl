{{- /* The template of the gateway's pods. */ -}}
{{- define "wayside.pod" -}}
metadata:
  labels:
    {{- include "wayside.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed configuration replaces the pods.
    checksum/config: {{ include "wayside.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "wayside.serviceAccount" . }}
  # wayside asks the API server for nothing. Workload identity brings tokens of its own.
  automountServiceAccountToken: false
  # Else a Service named wayside would set WAYSIDE_PORT and the like.
  enableServiceLinks: false
  # More than shutdown.timeout.
  terminationGracePeriodSeconds: {{ add .Values.shutdown.timeoutSeconds .Values.shutdown.marginSeconds }}
  securityContext:
    runAsNonRoot: true
    # Makes the volume writable for wayside.
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" }}
  {{- with index $.Values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $constraint := deepCopy . }}
    {{- if not (hasKey . "labelSelector") }}
    {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "wayside.selector" $ | fromYaml)) }}
    {{- end }}
    {{- list $constraint | toYaml | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: wayside
      image: {{ include "wayside.image" (dict "repository" .Values.image.repository "digest" .Values.image.digest "tag" (default .Chart.AppVersion .Values.image.tag)) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/wayside/wayside.yaml]
      env:
        # Part of every archived event and of the objects' names.
        - name: WAYSIDE_INSTANCE
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        {{- if .Values.archive.secretName }}
        {{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
        - name: {{ $name }}
          valueFrom: {secretKeyRef: {name: {{ $.Values.archive.secretName }}, key: {{ $name }}}}
        {{- end }}
        {{- end }}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: http, containerPort: 8090}
        - {name: probes, containerPort: 8092}
      {{- include "wayside.probes" . | nindent 6 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "wayside.securityContext" . | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: config, mountPath: /etc/wayside, readOnly: true}
        {{- if .Values.tls.secretName }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
        {{- with .Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "wayside.fullname" . }}}
    {{- if .Values.tls.secretName }}
    - name: tls
      secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 288} # 0440, for the group 65532
    {{- end }}
    {{- if eq .Values.kind "Deployment" }}
    - name: data
      emptyDir: {sizeLimit: {{ .Values.ephemeral.sizeLimit }}}
    {{- end }}
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
