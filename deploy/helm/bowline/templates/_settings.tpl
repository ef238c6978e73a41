{{/* A table's keys and values as TOML, whose texts, numbers and lists of texts are those of JSON. */}}
{{- define "bowline.toml" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end -}}

{{/* What the settings of each process have. Takes root, drainSeconds, port. */}}
{{- define "bowline.settings.top" -}}
listen = "0.0.0.0:{{ .port }}"
redis_file = "/etc/bowline/redis/url"
drain_seconds = {{ int .drainSeconds }}
{{- end -}}

{{- define "bowline.settings.tables" -}}
[certificates]
authority = "/etc/bowline/certificates/ca.crt"
certificate = "/etc/bowline/certificates/tls.crt"
key = "/etc/bowline/certificates/tls.key"
denied = "/etc/bowline/denied/denied"

[telemetry]
listen = "0.0.0.0:9090"
log_filter = {{ toJson .Values.telemetry.log_filter }}
log_format = {{ toJson .Values.telemetry.log_format }}
{{- end -}}
