//! Mistakes with which every object is accepted and the site does not come up, or its standby is cold.

use serde_json::json;

use super::planted::{Mistake, change, remove, setting};

pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "default-deny",
        what: "services beside pods that are not restricted",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Namespace", "shopsphere", |value| {
                value["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("baseline")
            });
        },
    },
    Mistake {
        rule: "ways",
        what: "a migration that no policy lets to its database",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "order-payment-migrate");
        },
    },
    Mistake {
        rule: "ways",
        what: "a migration whose policy comes after it",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user-migrate", |value| {
                _ = value["metadata"].as_object_mut().unwrap().remove("annotations")
            });
        },
    },
    Mistake {
        rule: "ways",
        what: "a store that lets nobody in",
        site: "dr-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "redis");
        },
    },
    Mistake {
        rule: "ways",
        what: "a caller that is not expected",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "NetworkPolicy", "personalization", |value| {
                for rule in value["spec"]["ingress"].as_array_mut().unwrap() {
                    let name = &mut rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"];
                    if *name == "catalog" {
                        *name = json!("user");
                    }
                }
            });
        },
    },
    Mistake {
        rule: "ways",
        what: "a name that an operator does not give",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                *setting(value, "SHOPSPHERE__TELEMETRY__OTLP_ENDPOINT") =
                    json!("http://traces.shopsphere-observability.svc:4317");
            });
        },
    },
    Mistake {
        rule: "api-server",
        what: "a Patroni that cannot hold its lease",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "postgres-api-server");
        },
    },
    Mistake {
        rule: "api-server",
        what: "a mirror that cannot read its certificates",
        site: "dr-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "mirror-api-server");
        },
    },
    Mistake {
        rule: "api-server",
        what: "a key job that cannot write its keys",
        site: "dr-c",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "jwks-sync");
        },
    },
    Mistake {
        rule: "api-server",
        what: "operators of topics and users at headquarters that see neither",
        site: "hq",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "kafka-api-server");
        },
    },
    Mistake {
        rule: "sources",
        what: "a balancer behind which everybody looks like a node",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Kafka", "kafka", |value| {
                let listeners = value["spec"]["kafka"]["listeners"].as_array_mut().unwrap();
                let outside = listeners.iter_mut().find(|listener| listener["name"] == "outside").unwrap();
                outside["configuration"].as_object_mut().unwrap().remove("externalTrafficPolicy");
            });
        },
    },
    Mistake {
        rule: "secrets-made",
        what: "a Secret that nobody makes",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "ExternalSecret", "user-secrets");
        },
    },
    Mistake {
        rule: "secrets-made",
        what: "a Secret with another key",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "ExternalSecret", "catalog-mongo-app", |value| {
                value["spec"]["target"]["template"]["data"] = json!({"secret": "{{ .password }}"})
            });
        },
    },
    Mistake {
        rule: "secrets-made",
        what: "a Secret that is made after the hook that needs it",
        site: "rdc-a",
        plant: |objects| {
            let owner = objects.iter_mut().find(|object| object.name() == "order-payment-owner");
            owner.unwrap().layer = "shopsphere".to_owned();
        },
    },
    Mistake {
        rule: "store-passwords",
        what: "a standby that does not know the password of its primary",
        site: "dr-a",
        plant: |objects| {
            remove(objects, "ExternalSecret", "standby.shopsphere-dr-a.credentials.postgresql.acid.zalan.do");
        },
    },
    Mistake {
        rule: "store-passwords",
        what: "a catalog that logs in as nobody",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PerconaServerMongoDB", "catalog", |value| value["spec"]["users"] = json!([]));
        },
    },
    Mistake {
        rule: "secrets-first",
        what: "a password that comes with the store that reads it",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ExternalSecret", "catalog-mongo-users", |value| {
                _ = value["metadata"]["labels"].as_object_mut().unwrap().remove("shopsphere.example/step")
            });
        },
    },
    Mistake {
        rule: "secrets-first",
        what: "a store that Argo CD makes with its Secrets",
        site: "dr-b",
        plant: |objects| {
            change(objects, "Kafka", "kafka", |value| {
                value["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-wave": "-1"})
            });
        },
    },
    Mistake {
        rule: "store-certificates",
        what: "members that show what their operator makes up",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PerconaServerMongoDB", "catalog", |value| {
                _ = value["spec"]["secrets"].as_object_mut().unwrap().remove("sslInternal")
            });
        },
    },
    Mistake {
        rule: "store-certificates",
        what: "an Issuer of ours that the operator may write",
        site: "dr-b",
        plant: |objects| {
            change(objects, "PerconaServerMongoDB", "catalog", |value| {
                value["spec"]["tls"]["issuerConf"] = json!({"name": "mongo", "kind": "Issuer"})
            });
        },
    },
    Mistake {
        rule: "store-certificates",
        what: "a copy that its primary does not believe",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Certificate", "catalog-mongo-tls-internal", |value| {
                value["spec"]["issuerRef"]["name"] = json!("kafka-clients")
            });
        },
    },
    Mistake {
        rule: "store-certificates",
        what: "members that are not of one set",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Certificate", "catalog-mongo-tls", |value| {
                value["spec"]["subject"]["organizations"] = json!(["somebody"])
            });
        },
    },
    Mistake {
        rule: "store-certificates",
        what: "a copy with the name of its primary",
        site: "dr-c",
        plant: |objects| {
            change(objects, "Certificate", "catalog-mongo-tls", |value| {
                for name in value["spec"]["dnsNames"].as_array_mut().unwrap() {
                    if *name == "mongo.dr-c.apac.shopsphere.example" {
                        *name = json!("mongo.rdc-c.apac.shopsphere.example");
                    }
                }
            });
        },
    },
    Mistake {
        rule: "store-roles",
        what: "a standby that reads from no slot",
        site: "dr-a",
        plant: |objects| {
            change(objects, "postgresql", "shopsphere-dr-a", |value| {
                _ = value["spec"].as_object_mut().unwrap().remove("env")
            });
        },
    },
    Mistake {
        rule: "store-follows",
        what: "the only Redis on the disk of a node",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Redis", "redis", |value| {
                value["spec"]["storage"]["volumeClaimTemplate"]["spec"]["storageClassName"] = json!("local-nvme");
            });
        },
    },
    Mistake {
        rule: "store-roles",
        what: "payments that wait for a standby which is not there",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-serve", |value| {
                *setting(value, "SHOPSPHERE__GATE__SLOT") = json!("shopsphere_dr_a")
            });
        },
    },
    Mistake {
        rule: "store-roles",
        what: "an issuer over a database that takes no writes",
        site: "dr-c",
        plant: |objects| {
            change(objects, "Keycloak", "keycloak", |value| value["spec"]["instances"] = json!(1));
        },
    },
    Mistake {
        rule: "kafka-objects",
        what: "a user where no operator looks",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaUser", "catalog-kafka", |value| {
                value["metadata"]["namespace"] = json!("shopsphere-edge")
            });
        },
    },
    Mistake {
        rule: "kafka-objects",
        what: "a topic of a cluster that is not there",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaTopic", "eu.order.created.v1", |value| {
                value["metadata"]["labels"]["strimzi.io/cluster"] = json!("kafka-2")
            });
        },
    },
    Mistake {
        rule: "kafka-objects",
        what: "more copies than brokers",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "KafkaNodePool", "brokers", |value| value["spec"]["replicas"] = json!(2));
        },
    },
    Mistake {
        rule: "scaling-standby",
        what: "a standby that consumes until its scaler looks",
        site: "dr-b",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-work", |value| {
                _ = value["spec"].as_object_mut().unwrap().remove("replicas")
            });
        },
    },
];
