{{/* A way out. Takes to, port; no peer is any address. */}}
{{- define "bowline.egress" -}}
- ports: [{ protocol: TCP, port: {{ int .port }} }]
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
