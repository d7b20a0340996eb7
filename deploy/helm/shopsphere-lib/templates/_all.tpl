{{/* Everything that a service needs; its own chart is one line. */}}
{{- define "shopsphere.all" -}}
{{- $serve := dict "root" . "role" "serve" "part" .Values.serve -}}
{{- $work := dict "root" . "role" "work" "part" .Values.work -}}
{{- if and .Values.migrate.enabled (not (include "shopsphere.standby" .)) }}
{{ include "shopsphere.migrationNetworkPolicy" . }}
---
{{ include "shopsphere.migration" . }}
---
{{- end }}
{{ include "shopsphere.serviceAccount" . }}
---
{{- if .Values.sharedFolder }}
{{ include "shopsphere.sharedFolder" . }}
---
{{- end }}
{{ include "shopsphere.service" . }}
---
{{ include "shopsphere.workService" . }}
---
{{ include "shopsphere.networkPolicy" . }}
---
{{- if .Values.network.cdn }}
{{ include "shopsphere.purgeNetworkPolicy" . }}
---
{{- end }}
{{ include "shopsphere.serviceMonitor" . }}
{{- range list $serve $work }}
---
{{ include "shopsphere.deployment" . }}
---
{{ include "shopsphere.pdb" . }}
{{- if .part.scaling.enabled }}
---
{{ include "shopsphere.scaledObject" . }}
{{- end }}
{{- end }}
{{- end }}
