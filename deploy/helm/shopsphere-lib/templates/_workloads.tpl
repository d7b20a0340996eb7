{{/*
Deployments of the long-running roles and the Job that migrates. Decided here: how a release replaces the one before it (first the
schema, then pods one more at a time, none fewer), and what differs at a standby: it never migrates, and what consumes is not
running there, because the mirror can move only the offsets of groups that nobody is in.
*/}}

{{/* The number of replicas that a role has before any load is measured. */}}
{{- define "shopsphere.replicas" -}}
{{- if include "shopsphere.standby" .root -}}{{ .part.standbyReplicas }}{{- else -}}{{ .part.minReplicas }}{{- end -}}
{{- end }}

{{- define "shopsphere.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "shopsphere.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" .root "role" .role) | nindent 4 }}
spec:
  {{- /* A standby consumes nothing, also in the seconds before its scaler looks. */}}
  {{- if or (not .part.scaling.enabled) (and (include "shopsphere.standby" .root) (eq .role "work")) }}
  replicas: {{ include "shopsphere.replicas" . }}
  {{- end }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: 300
  minReadySeconds: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels: {{- include "shopsphere.selector" (dict "root" .root "role" .role) | nindent 6 }}
  template: {{- include "shopsphere.podTemplate" . | nindent 4 }}
{{- end }}

{{/* Expand first: the old release still runs while this does. */}}
{{- define "shopsphere.migration" -}}
{{- $part := dict "part" (dict "resources" .Values.migrate.resources) "role" "migrate" "root" . -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "shopsphere.name" . }}-migrate
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "migrate") | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  # a migration waits for locks at most seconds and may be run again; after three tries a person looks
  backoffLimit: 3
  activeDeadlineSeconds: {{ .Values.migrate.deadlineSeconds }}
  template:
    metadata:
      labels: {{- include "shopsphere.labels" (dict "root" . "role" "migrate") | nindent 8 }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      priorityClassName: {{ .Values.serve.priorityClassName }}
      securityContext: {{- include "shopsphere.podSecurity" $part | nindent 8 }}
      {{- with .Values.global.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: migrate
          image: {{ include "shopsphere.image" . }}
          imagePullPolicy: {{ .Values.global.imagePullPolicy }}
          args: [migrate]
          env:
            {{- include "shopsphere.variables" (dict "root" . "without" .Values.migrateSecretSettings) | nindent 12 }}
            {{- include "shopsphere.secretVariables" (dict "keys" .Values.secretSettings "secret" (printf "%s-secrets" .Chart.Name)) | nindent 12 }}
            {{- include "shopsphere.secretVariables" (dict "keys" .Values.migrateSecretSettings "secret" (printf "%s-owner" .Chart.Name)) | nindent 12 }}
          resources: {{- include "shopsphere.resources" .Values.migrate.resources | nindent 12 }}
          securityContext: {{- include "shopsphere.containerSecurity" $part | nindent 12 }}
          volumeMounts: {{- include "shopsphere.mounts" $part | nindent 12 }}
      volumes: {{- include "shopsphere.volumes" $part | nindent 8 }}
{{- end }}

{{- define "shopsphere.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "shopsphere.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" .root "role" .role) | nindent 4 }}
spec:
  maxUnavailable: 1
  # a pod that is not ready protects nothing and must not hold up a node that is drained
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "shopsphere.selector" (dict "root" .root "role" .role) | nindent 6 }}
{{- end }}

{{- define "shopsphere.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "shopsphere.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "identity") | nindent 4 }}
automountServiceAccountToken: false
{{- end }}

{{- define "shopsphere.service" -}}
{{- $settings := include "shopsphere.settings" . | fromYaml -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "shopsphere.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "serve") | nindent 4 }}
  # the gateway reads its patience here; a rule lays it beside that of the gateway's file. It asks once: what is sent may have been done
  annotations:
    konghq.com/connect-timeout: "1000"
    konghq.com/read-timeout: {{ eq .Chart.Name "order-payment" | ternary "600000" "30000" | quote }}
    konghq.com/retries: "0"
spec:
  type: ClusterIP
  # the nearest zone first: half a millisecond that a recommendation does not have to spare
  trafficDistribution: PreferClose
  selector: {{- include "shopsphere.selector" (dict "root" . "role" "serve") | nindent 4 }}
  ports:
    - { name: http, port: {{ index $settings "http.port" }}, targetPort: http, appProtocol: http }
    {{- if hasKey $settings "grpc.port" }}
    - { name: grpc, port: {{ index $settings "grpc.port" }}, targetPort: grpc, appProtocol: kubernetes.io/h2c }
    {{- end }}
    - { name: admin, port: {{ index $settings "admin.port" }}, targetPort: admin, appProtocol: http }
{{- end }}

{{/* The admin port of the role work, for the scraper only. */}}
{{- define "shopsphere.workService" -}}
{{- $settings := include "shopsphere.settings" . | fromYaml -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "shopsphere.name" . }}-work
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "work") | nindent 4 }}
spec:
  clusterIP: None
  selector: {{- include "shopsphere.selector" (dict "root" . "role" "work") | nindent 4 }}
  ports:
    - { name: admin, port: {{ index $settings "admin.work_port" }}, targetPort: admin }
{{- end }}

{{- define "shopsphere.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "shopsphere.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "shopsphere.labels" (dict "root" . "role" "monitor") | nindent 4 }}
    {{- with .Values.global.monitoring.additionalLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ include "shopsphere.name" . }}
    matchExpressions:
      - { key: app.kubernetes.io/component, operator: In, values: [serve, work] }
  # both roles of a service are one job
  jobLabel: app.kubernetes.io/name
  targetLabels: [app.kubernetes.io/component]
  endpoints:
    # five seconds, because what scales on it must see a step of load within the quarter of a minute
    - port: admin
      path: /metrics
      interval: 5s
      scrapeTimeout: 4s
{{- end }}
