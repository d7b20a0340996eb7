//! The search read model in Elasticsearch.
