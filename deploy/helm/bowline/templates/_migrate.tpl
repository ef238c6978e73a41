{{/* What makes an object a hook, where migrations are one. A job that failed stays until the next, for its log. Takes root, weight. */}}
{{- define "bowline.migrate.hook" -}}
{{- if eq .root.Values.migrations.mode "hook" -}}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
{{- end -}}

{{/* What the job does. Takes root, name, component, account. */}}
{{- define "bowline.migrate.spec" -}}
{{- $migrations := .component -}}
{{- $database := ternary $migrations.database .root.Values.database (ne $migrations.database.existingSecret "") -}}
{{- $keys := $database.keys -}}
{{- $isOne := and (eq $keys.identity $keys.keyRegistry) (eq $keys.identity $keys.policyCompiler) -}}
{{- $owners := dict "identity" "identity" "key-registry" "keyRegistry" "policy-compiler" "policyCompiler" -}}
backoffLimit: 3
activeDeadlineSeconds: {{ int $migrations.deadlineSeconds }}
template:
  metadata:
    labels:
      {{- include "bowline.podLabels" . | nindent 6 }}
    {{- with $migrations.podAnnotations }}
    annotations: {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "bowline.pod" . | nindent 4 }}
    restartPolicy: Never
    containers:
      - name: migrate
        command: [/usr/local/bin/bowline]
        {{- if $isOne }}
        args: [migrate, --database-file=/etc/bowline/database/url]
        {{- else }}
        args:
          - migrate
          {{- range $owner, $key := $owners }}
          - --database={{ $owner }}=$({{ $owner | replace "-" "_" | upper }}_DATABASE)
          {{- end }}
        # A file is the database of all.
        env:
          {{- range $owner, $key := $owners }}
          - name: {{ $owner | replace "-" "_" | upper }}_DATABASE
            valueFrom: { secretKeyRef: { name: {{ $database.existingSecret }}, key: {{ get $keys $key | quote }} } }
          {{- end }}
        {{- end }}
        {{- include "bowline.container.confined" . | nindent 8 }}
        volumeMounts:
          {{- if $isOne }}
          - { name: database, mountPath: /etc/bowline/database, readOnly: true }
          {{- end }}
          {{- include "bowline.mounts.databaseAuthority" . | nindent 10 }}
    volumes:
      {{- if $isOne }}
      {{- include "bowline.volumes.database" (dict "secret" $database.existingSecret "secretKey" $keys.identity) | nindent 6 }}
      {{- end }}
      {{- include "bowline.volumes.databaseAuthority" . | nindent 6 }}
{{- end -}}
