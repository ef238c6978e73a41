{{/* What each pod has, whatever runs in it. Takes root, name, component, and account where it is not the release's. */}}
{{- define "bowline.pod" -}}
{{- $component := .component -}}
serviceAccountName: {{ default (include "bowline.fullname" .root) .account }}
automountServiceAccountToken: false
# Variables of a service bowline-x would look like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $component.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $constraints := include "bowline.spreading" . | trim }}
{{- if $constraints }}
topologySpreadConstraints: {{- $constraints | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes root, name. */}}
{{- define "bowline.spreading" -}}
{{- $context := . -}}
{{- $keys := dict "hosts" "kubernetes.io/hostname" "zones" "topology.kubernetes.io/zone" -}}
{{- range $what, $when := .root.Values.spreading }}
{{- if ne $when "Off" }}
- maxSkew: 1
  topologyKey: {{ get $keys $what }}
  whenUnsatisfiable: {{ $when }}
  labelSelector:
    matchLabels: {{- include "bowline.selector" $context | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What each container has, whatever runs in it. Takes root, component. */}}
{{- define "bowline.container.confined" -}}
image: {{ include "bowline.image" (dict "root" .root "imageTag" .component.imageTag) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
resources: {{- toYaml .component.resources | nindent 2 }}
{{- end -}}

{{/* What each container of a service has. Takes root, component. */}}
{{- define "bowline.container" -}}
{{ include "bowline.container.confined" . }}
# Served once the database is open and up to date, which may take a while after an upgrade.
startupProbe:
  httpGet: { path: /healthz, port: telemetry }
  periodSeconds: 2
  failureThreshold: 150
# Never depends on another process.
livenessProbe:
  httpGet: { path: /healthz, port: telemetry }
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: { path: /readyz, port: telemetry }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The files that each process reads. Takes root, name, key. */}}
{{- define "bowline.mounts" -}}
- { name: certificates, mountPath: /etc/bowline/certificates, readOnly: true }
- { name: denied, mountPath: /etc/bowline/denied, readOnly: true }
{{- end -}}

{{- define "bowline.volumes" -}}
- name: certificates
  secret:
    secretName: {{ include "bowline.certificateSecret" . }}
    defaultMode: 0440
- name: denied
  configMap:
    name: {{ include "bowline.fullname" .root }}-denied
{{- end -}}

{{/* The files of a process with settings. Takes root, name, key. */}}
{{- define "bowline.mounts.settings" -}}
- { name: settings, mountPath: /etc/bowline/settings, readOnly: true }
- { name: redis, mountPath: /etc/bowline/redis, readOnly: true }
{{- end -}}

{{- define "bowline.volumes.settings" -}}
- name: settings
  configMap:
    name: {{ include "bowline.name" . }}
- name: redis
  secret:
    secretName: {{ .root.Values.redis.existingSecret }}
    defaultMode: 0440
    items: [{ key: {{ .root.Values.redis.key | quote }}, path: url }]
{{- end -}}
