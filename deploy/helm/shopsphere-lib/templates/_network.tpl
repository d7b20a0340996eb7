{{/*
Who may talk to whom. Namespaces deny everything (deploy/helm/shopsphere-cluster); what a service needs is opened here, one peer at
a time. Decided here: a service is reached by the edge, by the services that .Values.network.callers names, and by the scraper; it
reaches name resolution, the stores that .Values.network.stores names, and what .Values.network.callees names. Nothing else, so a
service cannot reach another region: no rule of ours names an address outside the site except the payment gateway's, and the CDN's for who
tells it which copies are out of date.
*/}}

{{- define "shopsphere.networkPolicy" -}}
{{- $settings := include "shopsphere.settings" . | fromYaml -}}
{{- $g := .Values.global -}}
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
  egress: {{- include "shopsphere.egress" . | nindent 4 }}
{{- end }}

{{/*
The way to the stores for the Job that migrates. It runs before anything else of a release, so it brings its own policy along, and both
are gone when it has ended.
*/}}
{{- define "shopsphere.migrationNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "shopsphere.name" . }}-migrate
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "migrate") | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    # before the Job
    helm.sh/hook-weight: "-1"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  podSelector:
    matchLabels: {{- include "shopsphere.selector" (dict "root" . "role" "migrate") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress: {{- include "shopsphere.egress" . | nindent 4 }}
{{- end }}

{{/*
To where the CDN is told which copies are out of date, for the role that tells it and no other. What lies at these addresses is the
vendor's: a policy knows networks and no names, so the network is as small as the vendor says, and serving pods stay without it.
*/}}
{{- define "shopsphere.purgeNetworkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "shopsphere.name" . }}-purge
  namespace: {{ .Release.Namespace }}
  labels: {{- include "shopsphere.labels" (dict "root" . "role" "work") | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "shopsphere.selector" (dict "root" . "role" "work") | nindent 6 }}
  policyTypes: [Egress]
  egress:
    - to: [{ ipBlock: { cidr: {{ .Values.global.cdn.network }} } }]
      ports: [{ protocol: TCP, port: 443 }]
{{- end }}

{{/* What every process of a service may reach. */}}
{{- define "shopsphere.egress" -}}
{{- $g := .Values.global -}}
{{- $stores := dict
    "postgres" (dict "port" 5432 "labels" (dict "application" "spilo"))
    "kafka" (dict "port" 9093 "labels" (dict "strimzi.io/name" "kafka-kafka"))
    "mongo" (dict "port" 27017 "labels" (dict "app.kubernetes.io/instance" "catalog" "app.kubernetes.io/component" "mongod"))
    "elasticsearch" (dict "port" 9200 "labels" (dict "elasticsearch.k8s.elastic.co/cluster-name" "search"))
    "redis" (dict "port" 6379 "labels" (dict "app" "redis"))
    "keycloak" (dict "port" 8080 "labels" (dict "app" "keycloak")) -}}
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
