{{- define "bowline.relay.derpMap" -}}
{{- $node := dict "Name" "2695a" "RegionID" 2695 "HostName" .host "CertName" (printf "sha256-raw:%s" .certificate.sha256)
  "STUNPort" (int .service.stunPort) "DERPPort" (int .service.port) "InsecureForTests" true -}}
{{- if regexMatch "^[0-9.]+$" .host -}}
{{- $node = merge $node (dict "IPv4" .host "IPv6" "none") -}}
{{- end -}}
{{- $region := dict "RegionID" 2695 "RegionCode" "bowline" "RegionName" "Bowline" "Nodes" (list $node) -}}
{{- dict "Regions" (dict "2695" $region) "omitDefaultRegions" true | toPrettyJson -}}
{{- end -}}
