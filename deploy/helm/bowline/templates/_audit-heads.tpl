{{/* Where the heads of audit trails go: the settings, the files and the ways out of an owner. Nothing where they go nowhere. */}}
{{- define "bowline.auditHeads.urls" -}}
{{- $heads := .Values.auditHeads -}}
{{- $urls := list -}}
{{- with $heads.webhookUrl }}{{ $urls = append $urls . }}{{ end -}}
{{- if $heads.s3.bucket }}{{ $urls = append $urls $heads.s3.endpoint }}{{ end -}}
{{- if $urls }}{{ toJson $urls }}{{ end -}}
{{- end -}}

{{- define "bowline.auditHeads.settings" -}}
{{- $heads := .Values.auditHeads -}}
{{- if include "bowline.auditHeads.urls" . }}
[audit]
signing_key_file = "/etc/bowline/audit/signing-key"
export_seconds = {{ int $heads.exportSeconds }}
{{- with $heads.webhookUrl }}
webhook_url = {{ toJson . }}
{{- if $heads.keys.webhookToken }}
webhook_token_file = "/etc/bowline/audit/webhook-token"
{{- end }}
{{- end }}
{{- with $heads.s3 }}
{{- if .bucket }}
[audit.s3]
bucket = {{ toJson .bucket }}
endpoint = {{ toJson .endpoint }}
region = {{ toJson .region }}
prefix = {{ toJson .prefix }}
access_key_id = {{ toJson .accessKeyId }}
secret_access_key_file = "/etc/bowline/audit/s3-secret-access-key"
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "bowline.mounts.auditHeads" -}}
{{- if include "bowline.auditHeads.urls" .root -}}
- { name: audit, mountPath: /etc/bowline/audit, readOnly: true }
{{- end -}}
{{- end -}}

{{- define "bowline.volumes.auditHeads" -}}
{{- $heads := .root.Values.auditHeads -}}
{{- if include "bowline.auditHeads.urls" .root -}}
- name: audit
  secret:
    secretName: {{ $heads.existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ $heads.keys.signingKey | quote }}, path: signing-key }
      {{- if and $heads.webhookUrl $heads.keys.webhookToken }}
      - { key: {{ $heads.keys.webhookToken | quote }}, path: webhook-token }
      {{- end }}
      {{- if $heads.s3.bucket }}
      - { key: {{ $heads.keys.s3SecretAccessKey | quote }}, path: s3-secret-access-key }
      {{- end }}
{{- end -}}
{{- end -}}
