{{/*
How a role grows. Decided here: `serve` follows the requests it is given (CPU saturates and would hide how much is missing), `work`
follows the lag of its group and never has more replicas than the topic has partitions. When KEDA cannot ask, it holds what there
is, or the fallback if that is more. A standby keeps a small fixed number of `serve` and no `work`.
*/}}

{{- define "shopsphere.scaledObject" -}}
{{- $root := .root -}}
{{- $g := $root.Values.global -}}
{{- $name := include "shopsphere.name" $root -}}
{{- $standby := include "shopsphere.standby" $root -}}
{{- $scaling := .part.scaling -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}-{{ .role }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" $root "role" .role) | nindent 4 }}
  {{- if and $standby (eq .role "work") }}
  annotations:
    # taken away at promotion, when the offsets are in place
    autoscaling.keda.sh/paused-replicas: "0"
  {{- end }}
spec:
  scaleTargetRef: { name: {{ $name }}-{{ .role }} }
  pollingInterval: 5
  cooldownPeriod: 300
  minReplicaCount: {{ include "shopsphere.replicas" . }}
  maxReplicaCount: {{ .part.maxReplicas }}
  fallback:
    failureThreshold: 3
    replicas: {{ $scaling.fallbackReplicas }}
    behavior: currentReplicasIfHigher
  advanced:
    restoreToOriginalReplicaCount: false
    horizontalPodAutoscalerConfig:
      name: {{ $name }}-{{ .role }}
      behavior:
        # five times as many within a quarter of a minute; the simulation in crates/xtask holds it to a minute in all
        scaleUp:
          stabilizationWindowSeconds: 0
          selectPolicy: Max
          policies:
            - { type: Percent, value: 400, periodSeconds: 15 }
            - { type: Pods, value: 8, periodSeconds: 15 }
        scaleDown:
          stabilizationWindowSeconds: 300
          selectPolicy: Min
          policies:
            - { type: Percent, value: 10, periodSeconds: 60 }
  triggers:
    {{- if eq .role "serve" }}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus-operated.{{ $g.namespaces.observability }}.svc:9090
        query: sum(rate(http_server_request_duration_seconds_count{namespace="{{ $root.Release.Namespace }}",job="{{ $name }}"}[15s]))
        threshold: {{ $scaling.requestsPerSecond | quote }}
        activationThreshold: "0"
    {{- else }}
    {{- range $scaling.topics }}
    - type: apache-kafka
      metricType: AverageValue
      metadata:
        bootstrapServers: kafka-kafka-bootstrap.{{ $g.namespaces.data }}.svc:9093
        consumerGroup: {{ .group }}
        topic: {{ $g.region }}.{{ .kind }}.v1
        lagThreshold: {{ .lag | quote }}
        activationLagThreshold: "0"
        offsetResetPolicy: earliest
        limitToPartitionsWithLag: "false"
        tls: enable
      authenticationRef: { name: kafka-lag }
    {{- end }}
    {{- end }}
{{- end }}
