//! F5's load balancer in front of a site's gateways, as an AS3 declaration. Decided here: it ends TLS to say whose address a request came
//! from, and encrypts again; a gateway that does not answer its status port is left out, one that is taken out keeps what it has.

use serde_json::{Value, json};

use super::Output;
use super::text::json as pretty;
use super::topology::{Region, Site, Topology};

pub fn outputs(topology: &Topology) -> Vec<Output> {
    topology
        .sites()
        .map(|(region, site)| {
            Output::new(format!("deploy/edge/f5/as3/{}.json", site.name), pretty(&declaration(topology, region, site)))
        })
        .collect()
}

fn declaration(topology: &Topology, region: &Region, site: &Site) -> Value {
    json!({
        "class": "AS3",
        "action": "deploy",
        "persist": true,
        "declaration": {
            "class": "ADC",
            "schemaVersion": "3.50.0",
            "id": format!("shopsphere-{}", site.name),
            "label": topology.site_domain(region, site),
            "shopsphere": {
                "class": "Tenant",
                "edge": {
                    "class": "Application",
                    "template": "generic",
                    "https": {
                        "class": "Service_HTTPS",
                        "virtualAddresses": [site.edge.address],
                        "virtualPort": 443,
                        "redirect80": false,
                        "pool": "gateways",
                        "snat": "auto",
                        "serverTLS": "shop",
                        "clientTLS": "inside",
                        "profileHTTP": {"use": "forwarded"},
                        "profileTCP": {"use": "streams"},
                        "persistenceMethods": [],
                    },
                    // a header more, after those of the client and the CDN: the gateway reads them from the end and stops at the first
                    // address that it does not trust
                    "forwarded": {"class": "HTTP_Profile", "xForwardedFor": true},
                    // order events stream for ten minutes
                    "streams": {"class": "TCP_Profile", "idleTimeout": 620},
                    "shop": {"class": "TLS_Server", "certificates": [{"certificate": "certificate"}]},
                    // the gateway has a certificate per name
                    "inside": {"class": "TLS_Client", "sendSNI": region.host()},
                    "certificate": {
                        "class": "Certificate",
                        "remark": "on the device already; no key stands in a declaration",
                        "certificate": {"bigip": format!("/Common/{}.crt", region.host())},
                        "privateKey": {"bigip": format!("/Common/{}.key", region.host())},
                    },
                    "gateways": {
                        "class": "Pool",
                        "loadBalancingMode": "least-connections-member",
                        "minimumMembersActive": 1,
                        "reselectTries": 1,
                        // connections of a member that goes down or is disabled end by themselves: a drain loses nothing
                        "serviceDownAction": "none",
                        "slowRampTime": 10,
                        "monitors": [{"use": "status"}],
                        "members": [{
                            "servicePort": 8443,
                            "addressDiscovery": "static",
                            "serverAddresses": site.edge.gateways,
                            "shareNodes": false,
                            "adminState": "enable",
                        }],
                    },
                    "status": {
                        "class": "Monitor",
                        "monitorType": "http",
                        "targetPort": 8100,
                        "send": "GET /status/ready HTTP/1.0\r\n\r\n",
                        "receive": "200 OK",
                        "interval": 2,
                        "timeout": 7,
                    },
                },
            },
        },
    })
}
