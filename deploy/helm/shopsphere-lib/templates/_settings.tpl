{{/*
The settings of a service as environment variables. Decided here: files/settings.yaml (written by `cargo xtask render` from the
binary's own config.default.toml) is the complete list; what the site says is laid over it, then what .Values.settings says. So the
chart sets every variable that the binary reads and can set no other. Secrets never stand among them: they are named in
.Values.secretSettings and come from an ExternalSecret.
*/}}

{{/* What follows from site, region and namespaces. Keys that a service does not have are left out by the caller. */}}
{{- define "shopsphere.siteSettings" -}}
{{- $g := .Values.global -}}
{{- $apps := $g.namespaces.apps -}}
{{- $data := $g.namespaces.data -}}
site.region: {{ $g.region | quote }}
site.name: {{ $g.site | quote }}
site.epoch: {{ $g.epoch | quote }}
site.stands_by: {{ eq $g.role "standby" | quote }}
site.public_url: {{ $g.publicUrl | quote }}
process.grace_ms: "10000"
admin.bind: "0.0.0.0"
http.bind: "0.0.0.0"
grpc.bind: "0.0.0.0"
auth.issuer: {{ printf "%s/realms/shopsphere-%s" $g.identityUrl $g.region | quote }}
auth.jwks_url: {{ printf "http://keycloak-service.%s.svc:8080/realms/shopsphere-%s/protocol/openid-connect/certs" $data $g.region | quote }}
kafka.brokers: {{ printf "kafka-kafka-bootstrap.%s.svc:9093" $data | quote }}
kafka.replication: "3"
kafka.tls.ca_file: "/etc/kafka/ca/ca.crt"
kafka.tls.certificate_file: "/etc/kafka/user/user.crt"
kafka.tls.key_file: "/etc/kafka/user/user.key"
redis.url: {{ printf "redis://redis.%s.svc:6379" $data | quote }}
keycloak.base_url: {{ printf "http://keycloak-service.%s.svc:8080" $data | quote }}
keycloak.realm: {{ printf "shopsphere-%s" $g.region | quote }}
elasticsearch.search_deadline_ms: "100"
catalog.grpc_url: {{ printf "http://catalog.%s.svc:8112" $apps | quote }}
order_payment.grpc_url: {{ printf "http://order-payment.%s.svc:8122" $apps | quote }}
personalization.grpc_url: {{ printf "http://personalization.%s.svc:8132" $apps | quote }}
gateway.name: {{ $g.gateway.name | quote }}
gateway.base_url: {{ $g.gateway.url | quote }}
gateway.settlement_url: {{ $g.gateway.settlementUrl | quote }}
cdn.purge_url: {{ $g.cdn.purgeUrl | quote }}
gate.slot: {{ if eq $g.role "active" }}{{ include "shopsphere.slot" $g.peer.site | quote }}{{ else }}""{{ end }}
telemetry.otlp_endpoint: {{ printf "http://collector.%s.svc:4317" $g.namespaces.observability | quote }}
telemetry.sample_ratio: "0.05"
{{- end }}

{{/* `http.port` is SHOPSPHERE__HTTP__PORT. */}}
{{- define "shopsphere.variable" -}}
SHOPSPHERE__{{ . | upper | replace "." "__" }}
{{- end }}

{{/* All settings without secrets, as a flat map in YAML. */}}
{{- define "shopsphere.settings" -}}
{{- $all := .Files.Get "files/settings.yaml" | fromYaml -}}
{{- $site := include "shopsphere.siteSettings" . | fromYaml -}}
{{- range $key, $value := $site -}}
{{- if hasKey $all $key }}{{ $_ := set $all $key $value }}{{ end -}}
{{- end -}}
{{- $prefix := dict -}}
{{- range $section, $keys := .Values.settings -}}
{{- range $key, $value := $keys -}}
{{- if kindIs "map" $value -}}
{{- range $inner, $number := $value }}{{ $_ := set $prefix (printf "%s.%s.%s" $section $key $inner) $number }}{{ end -}}
{{- else -}}
{{- $_ := set $prefix (printf "%s.%s" $section $key) $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $prefix -}}
{{- if not (hasKey $all $key) }}{{ fail (printf "settings.%s: the binary has no such setting" $key) }}{{ end -}}
{{- if has $key (concat $.Values.secretSettings $.Values.migrateSecretSettings) }}{{ fail (printf "settings.%s: a secret comes from the store, not from values" $key) }}{{ end -}}
{{- $text := toString $value -}}
{{- if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ $text = printf "%.0f" $value }}{{ end }}{{ end -}}
{{- $_ := set $all $key $text -}}
{{- end -}}
{{- range .Values.secretSettings -}}
{{- if not (hasKey $all .) }}{{ fail (printf "secretSettings: the binary has no setting %s" .) }}{{ end -}}
{{- $_ := unset $all . -}}
{{- end -}}
{{- range .Values.migrateSecretSettings }}{{ $_ := set $all . "" }}{{ end -}}
{{ toYaml $all }}
{{- end }}

{{/* Settings as variables of a container, `$(` kept as it stands. Takes (dict "root" . "without" list). */}}
{{- define "shopsphere.variables" -}}
{{- range $key, $value := include "shopsphere.settings" .root | fromYaml }}
{{- if not (has $key $.without) }}
- { name: {{ include "shopsphere.variable" $key }}, value: {{ $value | replace "$(" "$$(" | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{/* Variables whose values are secrets. Takes (dict "root" . "keys" list "secret" "user-secrets"). */}}
{{- define "shopsphere.secretVariables" -}}
{{- range .keys }}
- name: {{ include "shopsphere.variable" . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.secret }}
      key: {{ include "shopsphere.variable" . }}
{{- end }}
{{- end }}
