{{- /* Cluster-wide objects have it too, so it differs from release to release. */ -}}
{{- define "pullwatch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "pullwatch" .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-pullwatch" (.Release.Name | trunc 30 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- /* By the name kubectl-pullwatch finds the pods, whatever the release is called. */ -}}
{{- define "pullwatch.selector" -}}
app.kubernetes.io/name: pullwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pullwatch.labels" -}}
{{ include "pullwatch.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pullwatch.image" -}}
{{ .Values.image.registry }}/{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The API server's name for the agent's service account. */ -}}
{{- define "pullwatch.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "pullwatch.fullname" . }}
{{- end }}

{{- /* Where the kubelet's probes go, if that is not the pod's own address. */ -}}
{{- define "pullwatch.probeHost" -}}
{{- if not (has .Values.listenAddress (list "" "0.0.0.0" "[::]")) }}
host: {{ trimAll "[]" .Values.listenAddress | quote }}
{{- end }}
{{- end }}

{{- define "pullwatch.args" -}}
- run
- {{ printf "--listen-address=%s:%v" (.Values.listenAddress | default (ternary "[$(HOST_IP)]" "[$(POD_IP)]" .Values.hostNetwork)) .Values.port | quote }}
{{- if not .Values.nodeConditions.enabled }}
- --node-conditions=false
{{- end }}
{{- with .Values.nodeConditions.heartbeatInterval }}
- {{ printf "--heartbeat-interval=%s" . | quote }}
{{- end }}
{{- with .Values.probing.interval }}
- {{ printf "--probe-interval=%s" . | quote }}
{{- end }}
{{- with .Values.probing.maxRegistries }}
- {{ printf "--max-probed-registries=%v" . | quote }}
{{- end }}
{{- range .Values.probing.excludeRegistries }}
- {{ printf "--exclude-registry=%s" . | quote }}
{{- end }}
{{- with .Values.pullSecrets }}
- --pull-secrets
{{- end }}
{{- with .Values.kubelet.configFile }}
- {{ printf "--kubelet-config=%s" . | quote }}
{{- end }}
{{- with .Values.kubelet.caFile }}
- {{ printf "--kubelet-ca-file=%s" . | quote }}
{{- end }}
{{- range .Values.registries }}
- {{ printf "--registry=%s" . | quote }}
{{- end }}
{{- if ne .Values.logFormat "auto" }}
- {{ printf "--log-format=%s" .Values.logFormat | quote }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ quote . }}
{{- end }}
{{- end }}

{{- define "pullwatch.podSecurityContext" -}}
runAsNonRoot: {{ ne (int .Values.runAsUser) 0 }}
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
seccompProfile:
  type: RuntimeDefault
{{- with .Values.seLinuxOptions }}
seLinuxOptions: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pullwatch.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
