{{- define "edge.labels" -}}
app.kubernetes.io/part-of: shopsphere
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "shopsphere.place" . }}
{{- end }}

{{/* Takes (dict "root" "name" "plugin" "config"). */}}
{{- define "edge.plugin" -}}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata:
  name: {{ .name }}
  namespace: {{ .root.Values.global.namespaces.apps }}
  labels: {{- include "edge.labels" .root | nindent 4 }}
plugin: {{ .plugin }}
config: {{- toYaml .config | nindent 2 }}
{{- end }}

{{/* The same for every route of the cluster. */}}
{{- define "edge.globalPlugin" -}}
---
apiVersion: configuration.konghq.com/v1
kind: KongClusterPlugin
metadata:
  name: {{ .name }}
  labels:
    global: "true"
    {{- include "edge.labels" .root | nindent 4 }}
  annotations: { kubernetes.io/ingress.class: {{ .root.Values.gatewayClass }} }
plugin: {{ .plugin }}
config: {{- toYaml .config | nindent 2 }}
{{- end }}
