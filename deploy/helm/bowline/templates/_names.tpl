{{- define "bowline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of a component's objects. Takes root, name. */}}
{{- define "bowline.name" -}}
{{- printf "%s-%s" (include "bowline.fullname" .root) .name -}}
{{- end -}}

{{/* What selects the pods of a component. Takes root, name. */}}
{{- define "bowline.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* The labels of a component's pods: none that changes with the chart alone. Takes root, name. */}}
{{- define "bowline.podLabels" -}}
{{ include "bowline.selector" . }}
app.kubernetes.io/part-of: bowline
{{- end -}}

{{/* Takes root, name. */}}
{{- define "bowline.labels" -}}
{{ include "bowline.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Name, namespace and labels of a component's object. Takes root, name. */}}
{{- define "bowline.metadata" -}}
name: {{ include "bowline.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "bowline.labels" . | nindent 2 }}
{{- end -}}

{{/* Takes root, imageTag. */}}
{{- define "bowline.image" -}}
{{- $image := .root.Values.image -}}
{{- if .imageTag -}}
{{ $image.repository }}:{{ .imageTag }}
{{- else if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* The name that all replicas of an owner are found by. Takes root, name. */}}
{{- define "bowline.host" -}}
{{- printf "%s.%s.svc" (include "bowline.name" .) .root.Release.Namespace -}}
{{- end -}}

{{/* The addresses of an owner as a list of TOML: every replica by its own name. Takes root, name, port, replicas. */}}
{{- define "bowline.addresses" -}}
{{- $addresses := list -}}
{{- $context := . -}}
{{- range $number := until (int .replicas) -}}
{{- $pod := printf "%s-%d" (include "bowline.name" $context) $number -}}
{{- $addresses = append $addresses (printf "%s.%s:%v" $pod (include "bowline.host" $context) $context.port) -}}
{{- end -}}
{{- toJson $addresses -}}
{{- end -}}

{{- define "bowline.addresses.identity" -}}
{{- include "bowline.addresses" (dict "root" . "name" "identity" "port" 7101 "replicas" .Values.identity.replicas) -}}
{{- end -}}
{{- define "bowline.addresses.key-registry" -}}
{{- include "bowline.addresses" (dict "root" . "name" "key-registry" "port" 7102 "replicas" .Values.keyRegistry.replicas) -}}
{{- end -}}
{{- define "bowline.addresses.policy-compiler" -}}
{{- include "bowline.addresses" (dict "root" . "name" "policy-compiler" "port" 7103 "replicas" .Values.policyCompiler.replicas) -}}
{{- end -}}

{{/* The host of publicUrl. */}}
{{- define "bowline.publicHost" -}}
{{- (urlParse .Values.publicUrl).hostname -}}
{{- end -}}

{{/* The secret with a component's certificate between services. Takes root, name, key. */}}
{{- define "bowline.certificateSecret" -}}
{{- $certificates := .root.Values.certificates -}}
{{- if eq $certificates.source "cert-manager" -}}
{{ include "bowline.name" . }}-certificate
{{- else -}}
{{ get $certificates.secrets .key }}
{{- end -}}
{{- end -}}

{{/* Whether gateways order what clients see by ACME; empty when not. That counts before what else is said of a certificate. */}}
{{- define "bowline.acme" -}}
{{- $tls := .Values.netmapGateway.tls -}}
{{- if and $tls.enabled $tls.acme.agreeToTerms }}true{{ end -}}
{{- end -}}

{{/* The secret with what clients see of a gateway. */}}
{{- define "bowline.tlsSecret" -}}
{{- $tls := .Values.netmapGateway.tls -}}
{{- if $tls.certManager.enabled -}}
{{ include "bowline.name" (dict "root" . "name" "netmap-gateway") }}-tls
{{- else -}}
{{ required "netmapGateway.tls needs existingSecret, certManager, acme, or enabled: false" $tls.existingSecret }}
{{- end -}}
{{- end -}}

{{/* The config map with the DERP map of the gateways; empty when there is none. */}}
{{- define "bowline.derpMap" -}}
{{- if .Values.relay.enabled -}}
{{ include "bowline.name" (dict "root" . "name" "relay") }}-derp-map
{{- else -}}
{{ .Values.netmapGateway.derpMap.existingConfigMap }}
{{- end -}}
{{- end -}}
