{{/*
Names, labels and the image. Decided here: how objects are called and which labels they carry everywhere.
*/}}

{{- define "shopsphere.name" -}}
{{- .Values.fullnameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that never change in the life of a Deployment. Takes (dict "root" . "role" "serve"). */}}
{{- define "shopsphere.selector" -}}
app.kubernetes.io/name: {{ include "shopsphere.name" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* All labels. Takes (dict "root" . "role" "serve"). */}}
{{- define "shopsphere.labels" -}}
{{ include "shopsphere.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: shopsphere
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "shopsphere.place" .root }}
{{- with .root.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where an object belongs: the admission policies compare these with the namespace. */}}
{{- define "shopsphere.place" -}}
shopsphere.example/region: {{ .Values.global.region }}
shopsphere.example/site: {{ .Values.global.site }}
shopsphere.example/jurisdiction: {{ .Values.global.jurisdiction }}
{{- end }}

{{/* The replication slot of PostgreSQL that a site of that name reads from at its peer. */}}
{{- define "shopsphere.slot" -}}
shopsphere_{{ . | replace "-" "_" }}
{{- end }}

{{- define "shopsphere.standby" -}}
{{- if eq .Values.global.role "standby" }}true{{ end -}}
{{- end }}

{{/* A digest wins over a tag; without either there is no release to name, and rendering ends. */}}
{{- define "shopsphere.image" -}}
{{- $image := mergeOverwrite (deepCopy (.Values.global.image | default dict)) (.Values.image | default dict) -}}
{{- $name := printf "%s/%s" (required "image.registry is missing" $image.registry) ($image.repository | default .Chart.Name) -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
