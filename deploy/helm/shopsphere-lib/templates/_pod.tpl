{{/*
The pod of a role. Decided here: what every container of ours may (restricted, read-only, no token), how it is probed (the admin
port that each role really opens), how it leaves (ready turns false, `process.grace_ms` goes on serving, then the drain), that replicas
stand in different zones and on different nodes, and that settings are part of the pod: while a release comes, a pod of the one before it
that starts anew reads its own settings, and would refuse to start with a variable that only the new program knows.
*/}}

{{/* Takes (dict "root" . "role" "serve" "part" .Values.serve). */}}
{{- define "shopsphere.podTemplate" -}}
{{- $root := .root -}}
{{- $settings := include "shopsphere.settings" $root | fromYaml -}}
{{- $name := include "shopsphere.name" $root -}}
metadata:
  labels: {{- include "shopsphere.labels" (dict "root" $root "role" .role) | nindent 4 }}
  {{- with .part.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ $name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  priorityClassName: {{ .part.priorityClassName }}
  # grace 10 s, drain 25 s, and ten to spare
  terminationGracePeriodSeconds: 45
  securityContext: {{- include "shopsphere.podSecurity" . | nindent 4 }}
  topologySpreadConstraints: {{- include "shopsphere.spread" (dict "root" $root "role" .role) | nindent 4 }}
  {{- with $root.Values.global.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $root.Chart.Name }}
      image: {{ include "shopsphere.image" $root }}
      imagePullPolicy: {{ $root.Values.global.imagePullPolicy }}
      args: [{{ .role }}]
      env:
        {{- include "shopsphere.variables" (dict "root" $root "without" list) | nindent 8 }}
        {{- include "shopsphere.secretVariables" (dict "keys" $root.Values.secretSettings "secret" (printf "%s-secrets" $root.Chart.Name)) | nindent 8 }}
      ports:
        {{- if eq .role "serve" }}
        - { name: http, containerPort: {{ index $settings "http.port" }}, protocol: TCP }
        {{- if hasKey $settings "grpc.port" }}
        - { name: grpc, containerPort: {{ index $settings "grpc.port" }}, protocol: TCP }
        {{- end }}
        {{- end }}
        - { name: admin, containerPort: {{ index $settings (eq .role "serve" | ternary "admin.port" "admin.work_port") }}, protocol: TCP }
      # a start waits for databases, so it may take a while; a hung process is seen after thirty seconds
      startupProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 2
      # Endpoints are withdrawn while this sleeps; the signal comes after it and starts the drain. The kubelet sleeps, not the image.
      lifecycle:
        preStop:
          sleep: { seconds: 3 }
      resources: {{- include "shopsphere.resources" .part.resources | nindent 8 }}
      securityContext: {{- include "shopsphere.containerSecurity" . | nindent 8 }}
      volumeMounts: {{- include "shopsphere.mounts" . | nindent 8 }}
  volumes: {{- include "shopsphere.volumes" . | nindent 4 }}
{{- end }}

{{- define "shopsphere.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "shopsphere.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: { drop: [ALL] }
{{- end }}

{{/*
Over zones strictly, over nodes as well as it goes; each release by itself, so that a rollout does not skew it. A zone that is lost keeps
its nodes as objects, tainted as unreachable: unless taints are honoured it stays a zone with no pod, and nothing is placed in the others.
*/}}
{{- define "shopsphere.spread" -}}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: DoNotSchedule
  nodeTaintsPolicy: Honor
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels: {{- include "shopsphere.selector" . | nindent 6 }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  nodeTaintsPolicy: Honor
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels: {{- include "shopsphere.selector" . | nindent 6 }}
{{- end }}

{{- define "shopsphere.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: kafka-ca, mountPath: /etc/kafka/ca, readOnly: true }
- { name: kafka-user, mountPath: /etc/kafka/user, readOnly: true }
{{- with .root.Values.sharedFolder }}
- { name: shared, mountPath: {{ .path }} }
{{- end }}
{{- end }}

{{- define "shopsphere.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
- name: kafka-ca
  secret: { secretName: kafka-ca, defaultMode: 288 }
- name: kafka-user
  secret: { secretName: {{ .root.Chart.Name }}-kafka, defaultMode: 288 }
{{- if .root.Values.sharedFolder }}
- name: shared
  # a migration runs before it exists and keeps nothing in it
  {{- if eq .role "migrate" }}
  emptyDir: { sizeLimit: 64Mi }
  {{- else }}
  persistentVolumeClaim: { claimName: {{ include "shopsphere.name" .root }}-shared }
  {{- end }}
{{- end }}
{{- end }}

{{/* What several processes of a service read and write as files. */}}
{{- define "shopsphere.sharedFolder" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "shopsphere.name" . }}-shared
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "files") | nindent 4 }}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: {{ .Values.sharedFolder.storageClass }}
  resources: { requests: { storage: {{ .Values.sharedFolder.size }} } }
{{- end }}

{{/*
Processor and memory as the values say. The disk of a pod is the same for all: 64 MiB of /tmp, and of its output the kubelet keeps five
files of 10 MiB. A pod that writes twice as much is broken and has to go before its node does.
*/}}
{{- define "shopsphere.resources" -}}
{{- $disk := dict "requests" (dict "ephemeral-storage" "128Mi") "limits" (dict "ephemeral-storage" "256Mi") -}}
{{- mergeOverwrite $disk (deepCopy .) | toYaml -}}
{{- end }}
