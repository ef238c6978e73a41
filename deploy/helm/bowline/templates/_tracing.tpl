{{/* Where a process sends its traces, by variables that every program with OpenTelemetry reads. Takes root. */}}
{{- define "bowline.tracing.env" -}}
{{- $tracing := .root.Values.tracing -}}
{{- if $tracing.endpoint -}}
env:
  - { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ $tracing.endpoint | quote }} }
  - { name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio }
  - { name: OTEL_TRACES_SAMPLER_ARG, value: {{ $tracing.ratio | toString | quote }} }
  - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
  - { name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.namespace.name={{ .root.Release.Namespace }},k8s.pod.name=$(POD_NAME)" }
  {{- with $tracing.headers }}
  {{- if .existingSecret }}
  - name: OTEL_EXPORTER_OTLP_HEADERS
    valueFrom: { secretKeyRef: { name: {{ .existingSecret }}, key: {{ .key | quote }} } }
  {{- end }}
  {{- end }}
  {{- if $tracing.caSecret }}
  - { name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/bowline/collector-ca/ca.crt }
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The authority of the collector's certificate, where one is named. Takes root. */}}
{{- define "bowline.tracing.caSecret" -}}
{{- with .root.Values.tracing -}}
{{- if .endpoint -}}
{{ .caSecret }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "bowline.mounts.tracing" -}}
{{- if include "bowline.tracing.caSecret" . -}}
- { name: collector-ca, mountPath: /etc/bowline/collector-ca, readOnly: true }
{{- end -}}
{{- end -}}

{{- define "bowline.volumes.tracing" -}}
{{- with include "bowline.tracing.caSecret" . -}}
- name: collector-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{ key: ca.crt, path: ca.crt }]
{{- end -}}
{{- end -}}
