{{/* A way out. Takes to, port; no peer is any address. */}}
{{- define "bowline.egress" -}}
- ports: [{ protocol: TCP, port: {{ int .port }} }]
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The way to name servers. Takes the peers. */}}
{{- define "bowline.egress.dns" -}}
- to: {{- toYaml . | nindent 4 }}
  ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- end -}}

{{/* The port that a URL leads to. */}}
{{- define "bowline.urlPort" -}}
{{- $url := urlParse . -}}
{{- $usual := ternary "443" "80" (eq $url.scheme "https") -}}
{{- default $usual (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host)) -}}
{{- end -}}
