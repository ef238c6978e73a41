{{- define "bowline.gateway.settings" -}}
{{- $gateway := .Values.netmapGateway -}}
{{ include "bowline.settings.top" (dict "root" . "port" 7104 "drainSeconds" $gateway.drainSeconds) }}
identity = {{ include "bowline.addresses.identity" . }}
key_registry = {{ include "bowline.addresses.key-registry" . }}
policy_compiler = {{ include "bowline.addresses.policy-compiler" . }}

[service]
listen = "0.0.0.0:8443"
public_url = {{ toJson .Values.publicUrl }}
tls = {{ $gateway.tls.enabled }}
{{- if and $gateway.tls.enabled (not (include "bowline.acme" .)) }}
certificate_file = "/etc/bowline/tls/tls.crt"
key_file = "/etc/bowline/tls/tls.key"
{{- end }}
control_keys = "/etc/bowline/control-keys"
{{- if include "bowline.derpMap" . }}
derp_map_file = "/etc/bowline/derp-map/derp.json"
{{- end }}
{{- with $gateway.derpMap.url }}
derp_map_url = {{ toJson . }}
{{- end }}
{{- if .Values.verifyToken.existingSecret }}
verify_token_file = "/etc/bowline/verify-token/token"
{{- end }}
{{- include "bowline.toml" $gateway.settings }}
{{- if include "bowline.acme" . }}
{{- with $gateway.tls.acme }}

[service.acme]
agree_to_terms = true
directory_url = {{ toJson .directoryUrl }}
{{- with .contact }}
contact = {{ toJson . }}
{{- end }}
hosts = {{ toJson .hosts }}
state_dir = "/var/lib/bowline/acme"
{{- end }}
{{- end }}
{{- if $gateway.admin.enabled }}

[admin]
listen = "0.0.0.0:8445"
{{- end }}

{{ include "bowline.settings.tables" . }}
{{ end -}}
