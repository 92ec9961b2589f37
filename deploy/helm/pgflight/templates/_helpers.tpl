{{- define "pgflight.name" -}}
{{- if contains "pgflight" .Release.Name }}{{ .Release.Name | trunc 53 }}{{ else }}{{ printf "%s-pgflight" .Release.Name | trunc 53 }}{{ end }}
{{- end }}

{{- define "pgflight.selector" -}}
app.kubernetes.io/name: pgflight
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgflight.labels" -}}
{{ include "pgflight.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* A value in TOML. Helm's own toToml writes numbers as floats. */}}
{{- define "pgflight.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ else }} {{ end }}{{ $key }} = {{ include "pgflight.toml" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "pgflight.toml" $item }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ toRawJson . }}
{{- else if kindIs "float64" . -}}
{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else -}}
{{ . }}
{{- end }}
{{- end }}

{{- define "pgflight.section" -}}
{{- range $key := keys . | sortAlpha }}
{{ $key }} = {{ include "pgflight.toml" (get $ $key) }}
{{- end }}
{{- end }}

{{- define "pgflight.config" -}}
[server]
listen = "0.0.0.0:8815"
{{- if eq .Values.tls.from "none" }}
# The mesh encrypts, and rejects other clients.
insecure = true
{{- else }}
tls_cert = "/etc/pgflight/tls/tls.crt"
tls_key = "/etc/pgflight/tls/tls.key"
{{- end }}
{{- if .Values.tls.clientCaSecret }}
tls_client_ca = "/etc/pgflight/clients/ca.crt"
{{- end }}
{{- include "pgflight.section" .Values.config.server }}

[metrics]
listen = "0.0.0.0:9187"
{{- range $name := list "limits" "writes" "log" "auth" }}
{{- $keys := deepCopy (get $.Values.config $name | default dict) }}
{{- if and (eq $name "auth") $.Values.sessionSecret }}
{{- $_ := set $keys "session_key_file" "/etc/pgflight/session/session.key" }}
{{- end }}
{{- if $keys }}

[{{ $name }}]
{{- include "pgflight.section" $keys }}
{{- end }}
{{- end }}
{{- range $kind := list "targets" "principals" }}
{{- range $name := keys (get $.Values.config $kind) | sortAlpha }}

[{{ $kind }}.{{ $name | toRawJson }}]
{{- include "pgflight.section" (get (get $.Values.config $kind) $name) }}
{{- end }}
{{- end }}
{{ end }}

{{/* Fails if values contradict each other. */}}
{{- define "pgflight.check" -}}
{{- if not .Values.config.targets }}{{ fail "config.targets is empty: name a database" }}{{ end }}
{{- if not (has .Values.tls.from (list "secret" "cert-manager" "none")) }}{{ fail "tls.from is secret, cert-manager or none" }}{{ end }}
{{- if and (eq .Values.tls.from "cert-manager") (not .Values.tls.issuer.name) }}{{ fail "tls.issuer.name is empty: name an issuer of cert-manager" }}{{ end }}
{{- if and (eq .Values.tls.from "none") .Values.tls.clientCaSecret }}{{ fail "tls.clientCaSecret needs TLS: set tls.from" }}{{ end }}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}{{ fail "enable serviceMonitor or podMonitor, since both read the same metrics" }}{{ end }}
{{- end }}
