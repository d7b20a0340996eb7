{{- define "hq.labels" -}}
app.kubernetes.io/part-of: shopsphere
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "shopsphere.place" . }}
{{- end }}
