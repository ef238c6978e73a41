{{/* The authority of the database's certificate, where one is named. Takes root. */}}
{{- define "bowline.mounts.databaseAuthority" -}}
{{- if .root.Values.database.caSecret -}}
- { name: database-ca, mountPath: /etc/bowline/database-ca, readOnly: true }
{{- end -}}
{{- end -}}

{{- define "bowline.volumes.databaseAuthority" -}}
{{- with .root.Values.database.caSecret -}}
- name: database-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{ key: ca.crt, path: ca.crt }]
{{- end -}}
{{- end -}}

{{/* The URL of a database as a file. Takes secret, secretKey. */}}
{{- define "bowline.volumes.database" -}}
- name: database
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items: [{ key: {{ .secretKey | quote }}, path: url }]
{{- end -}}
