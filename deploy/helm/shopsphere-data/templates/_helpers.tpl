{{- define "data.labels" -}}
app.kubernetes.io/part-of: shopsphere
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "shopsphere.place" . }}
{{- end }}

{{/*
The marks of what stands before the stores do, because an operator makes up a Secret that it does not find: kubectl applies it first by its
label, Argo CD by its wave.
*/}}
{{- define "data.first" -}}
labels:
  {{- include "data.labels" . | nindent 2 }}
  shopsphere.example/step: access
annotations: { argocd.argoproj.io/sync-wave: "-1" }
{{- end }}

{{/* The operator wants the team's name in front; the site's name makes it unique over both clusters of a pair (rule D2). */}}
{{- define "data.postgres" -}}
shopsphere-{{ .Values.global.site }}
{{- end }}

{{/*
A Secret ordered from the region's store. Takes (dict "root" "name" "namespace" "data" (dict template) "from" (dict property path)), and
where somebody looks for them "type", "labels" and "annotations".
*/}}
{{- define "data.externalSecret" -}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  {{- include "data.first" .root | nindent 2 }}
spec:
  # a rotated secret is here within the quarter of an hour
  refreshInterval: 15m
  secretStoreRef: {{- toYaml .root.Values.global.secretStore | nindent 4 }}
  target:
    name: {{ .name }}
    creationPolicy: Owner
    template:
      engineVersion: v2
      {{- with .type }}
      type: {{ . }}
      {{- end }}
      {{- if or .labels .annotations }}
      metadata:
        {{- with .labels }}
        labels: {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with .annotations }}
        annotations: {{- toYaml . | nindent 10 }}
        {{- end }}
      {{- end }}
      data: {{- toYaml .data | nindent 8 }}
  data:
    {{- range $property, $key := .from }}
    - secretKey: {{ $property }}
      remoteRef: { key: {{ printf "shopsphere/%s/%s" $.root.Values.global.region $key }} }
    {{- end }}
{{- end }}

{{/*
An authority of the region that signs here: its Secret and the Issuer of that name. Takes (dict "root" "name" "from" path), where the store
has the certificate at `from` and its key at `from`-key.
*/}}
{{- define "data.authority" -}}
{{ include "data.externalSecret" (dict "root" .root "namespace" .root.Release.Namespace "name" (printf "%s-issuer" .name) "type" "kubernetes.io/tls"
    "data" (dict "tls.crt" "{{ .ca }}" "tls.key" "{{ .key }}") "from" (dict "ca" .from "key" (printf "%s-key" .from))) }}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  {{- include "data.first" .root | nindent 2 }}
spec:
  ca: { secretName: {{ .name }}-issuer }
{{- end }}
