{{/*
Who may talk to whom. Namespaces deny everything (deploy/helm/shopsphere-cluster); what a service needs is opened here, one peer at
a time. Decided here: a service is reached by the edge, by the services that .Values.network.callers names, and by the scraper; it
reaches name resolution, the stores that .Values.network.stores names, and what .Values.network.callees names. Nothing else, so a
service cannot reach another region: no rule of ours names an address outside the site except the payment gateway's.
*/}}

{{- define "shopsphere.networkPolicy" -}}
{{- $settings := include "shopsphere.settings" . | fromYaml -}}
{{- $g := .Values.global -}}
{{- $stores := dict
    "postgres" (dict "port" 5432 "labels" (dict "application" "spilo"))
    "kafka" (dict "port" 9093 "labels" (dict "strimzi.io/name" "kafka-kafka"))
    "mongo" (dict "port" 27017 "labels" (dict "app.kubernetes.io/instance" "catalog" "app.kubernetes.io/component" "mongod"))
    "elasticsearch" (dict "port" 9200 "labels" (dict "elasticsearch.k8s.elastic.co/cluster-name" "search"))
    "redis" (dict "port" 6379 "labels" (dict "app" "redis"))
    "keycloak" (dict "port" 8080 "labels" (dict "app" "keycloak")) -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "shopsphere.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "network") | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "shopsphere.name" . }}
  policyTypes: [Ingress, Egress]
  ingress:
    # the gateway
    - from:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ $g.namespaces.edge }} } }
      ports:
        - { protocol: TCP, port: {{ index $settings "http.port" }} }
        - { protocol: TCP, port: {{ index $settings "admin.port" }} }
    # the scraper
    - from:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ $g.namespaces.observability }} } }
      ports:
        - { protocol: TCP, port: {{ index $settings "admin.port" }} }
        - { protocol: TCP, port: {{ index $settings "admin.work_port" }} }
    {{- range .Values.network.callers }}
    - from:
        - podSelector: { matchLabels: { app.kubernetes.io/name: {{ . }} } }
      ports:
        - { protocol: TCP, port: {{ index $settings "grpc.port" }} }
    {{- end }}
  egress:
    - to:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } }
          podSelector: { matchLabels: { k8s-app: kube-dns } }
      ports:
        - { protocol: UDP, port: 53 }
        - { protocol: TCP, port: 53 }
    # traces
    - to:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ $g.namespaces.observability }} } }
      ports:
        - { protocol: TCP, port: 4317 }
    {{- range .Values.network.stores }}
    {{- $store := get $stores . | required (printf "network.stores: there is no store %s" .) }}
    - to:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ $g.namespaces.data }} } }
          podSelector: { matchLabels: {{ $store.labels | toJson }} }
      ports:
        - { protocol: TCP, port: {{ $store.port }} }
    {{- end }}
    {{- range .Values.network.callees }}
    - to:
        - podSelector: { matchLabels: { app.kubernetes.io/name: {{ .name }} } }
      ports:
        - { protocol: TCP, port: {{ .port }} }
    {{- end }}
    {{- if .Values.network.paymentGateway }}
    - to:
        - ipBlock: { cidr: {{ $g.gateway.network }} }
      ports:
        - { protocol: TCP, port: 443 }
    {{- end }}
{{- end }}
