{{/*
An owner: a service with a database, which others call. Takes root, name, key (in the values), port, and service: its own table
of settings and what else stands there.

Its replicas have names that stay, because callers spread calls over the addresses that their settings name.
*/}}
{{- define "bowline.owner" -}}
{{- $values := .root.Values -}}
{{- $component := get $values .key -}}
{{- $context := merge (dict "component" $component) . -}}
{{- $settings := include "bowline.owner.settings" $context | trim -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "bowline.metadata" . | nindent 2 }}
data:
  {{ .name }}.toml: |
    {{- $settings | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "bowline.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  # Callers pass over a replica that does not answer by themselves.
  publishNotReadyAddresses: true
  selector:
    {{- include "bowline.selector" . | nindent 4 }}
  ports:
    - { name: grpc, port: {{ .port }}, targetPort: grpc }
    - { name: telemetry, port: 9090, targetPort: telemetry }
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "bowline.metadata" . | nindent 2 }}
spec:
  replicas: {{ int $component.replicas }}
  serviceName: {{ include "bowline.name" . }}
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "bowline.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "bowline.podLabels" . | nindent 8 }}
      annotations:
        checksum/settings: {{ $settings | sha256sum }}
        {{- with $component.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "bowline.pod" $context | nindent 6 }}
      terminationGracePeriodSeconds: {{ add $component.drainSeconds 15 }}
      containers:
        - name: {{ .name }}
          command: [/usr/local/bin/bowline-{{ .name }}, --config, /etc/bowline/settings/{{ .name }}.toml]
          {{- include "bowline.container" $context | nindent 10 }}
          {{- include "bowline.tracing.env" . | nindent 10 }}
          ports:
            - { name: grpc, containerPort: {{ .port }} }
            - { name: telemetry, containerPort: 9090 }
          volumeMounts:
            {{- include "bowline.mounts" . | nindent 12 }}
            {{- include "bowline.mounts.settings" . | nindent 12 }}
            - { name: database, mountPath: /etc/bowline/database, readOnly: true }
            {{- include "bowline.mounts.databaseAuthority" . | nindent 12 }}
            {{- include "bowline.mounts.tracing" . | nindent 12 }}
            {{- include "bowline.mounts.auditHeads" . | nindent 12 }}
            {{- if .sealingKey }}
            - { name: sealing-key, mountPath: /etc/bowline/sealing-key, readOnly: true }
            {{- end }}
      volumes:
        {{- include "bowline.volumes" . | nindent 8 }}
        {{- include "bowline.volumes.settings" . | nindent 8 }}
        {{- $database := $values.database }}
        {{- include "bowline.volumes.database" (dict "secret" $database.existingSecret "secretKey" (get $database.keys .key)) | nindent 8 }}
        {{- include "bowline.volumes.databaseAuthority" . | nindent 8 }}
        {{- include "bowline.volumes.tracing" . | nindent 8 }}
        {{- include "bowline.volumes.auditHeads" . | nindent 8 }}
        {{- if .sealingKey }}
        - name: sealing-key
          secret:
            secretName: {{ .sealingKey.existingSecret }}
            defaultMode: 0440
            items: [{ key: {{ .sealingKey.key | quote }}, path: sealing-key }]
        {{- end }}
{{- end -}}

{{- define "bowline.owner.settings" -}}
{{ include "bowline.settings.top" (dict "root" .root "port" .port "drainSeconds" .component.drainSeconds) }}
database_file = "/etc/bowline/database/url"
{{- range .asks }}
{{ replace "-" "_" . }} = {{ include (printf "bowline.addresses.%s" .) $.root }}
{{- end }}
{{ with .service }}
[service]
{{- . }}
{{ end }}
{{ include "bowline.settings.tables" .root }}
{{ include "bowline.auditHeads.settings" .root }}
{{ end -}}
