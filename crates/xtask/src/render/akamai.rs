//! Global routing as Terraform for Akamai GTM. Decided here: one property per region that answers with the RDC while it says it is the
//! active and writable site (`/healthz/site`), else with its DR, and never with a site of another region; above them one property that
//! shows a visitor the region of their country, which takes a domain of the type `full`. Names are short-lived: a minute, so that a failover is seen within two.

use std::fmt::Write;

use super::Output;
use super::text::{header, list};
use super::topology::{Region, Site, Topology};

/// Seconds for which a name may be remembered; with the probe below this is most of what a client waits in a failover.
const TTL: u32 = 60;
const PROBE_SECONDS: u32 = 10;

pub fn outputs(topology: &Topology) -> Vec<Output> {
    vec![Output::new("deploy/edge/akamai/gtm.tf", terraform(topology))]
}

/// `rdc-a` is `rdc_a` in Terraform.
fn word(name: &str) -> String {
    name.replace('-', "_")
}

fn terraform(topology: &Topology) -> String {
    let mut text = header("topology.toml");
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "# Never run against the vendor; formatted and parsed only.\n\nterraform {{\n  required_version = \">= 1.5\"\n  required_providers {{\n    \
         akamai = {{\n      source  = \"akamai/akamai\"\n      version = \"~> 9.0\"\n    }}\n  }}\n}}\n\nvariable \"contract_id\" {{\n  \
         type = string\n}}\n\nvariable \"group_id\" {{\n  type = string\n}}\n\nresource \"akamai_gtm_domain\" \"shop\" {{\n  \
         contract                  = var.contract_id\n  group                     = var.group_id\n  name                      = \
         \"{domain}.akadns.net\"\n  type                      = \"full\"\n  comment                   = \"rendered from \
         topology.toml\"\n  default_timeout_penalty   = 25\n  default_error_penalty     = 75\n  load_imbalance_percentage = 10\n}}\n",
        domain = topology.domain
    );
    for (region, site) in topology.sites() {
        datacenter(&mut text, region, site);
    }
    for region in &topology.regions {
        property(&mut text, topology, region);
    }
    geography(&mut text, topology);
    text
}

fn datacenter(text: &mut String, region: &Region, site: &Site) {
    let _ = write!(
        text,
        "\nresource \"akamai_gtm_datacenter\" \"{word}\" {{\n  domain    = akamai_gtm_domain.shop.name\n  nickname  = \"{name}\"\n  \
         city      = \"{city}\"\n  country   = \"{country}\"\n  latitude  = {latitude}\n  longitude = {longitude}\n  \
         # jurisdiction {jurisdiction}\n  continent = \"{continent}\"\n}}\n",
        word = word(&site.name),
        name = site.name,
        city = site.city,
        country = site.country,
        latitude = site.latitude,
        longitude = site.longitude,
        jurisdiction = region.jurisdiction,
        continent = continent(&site.country),
    );
}

/// As Akamai writes them.
fn continent(country: &str) -> &'static str {
    match country {
        "US" => "NA",
        "SG" => "AS",
        "AU" => "OC",
        _ => "EU",
    }
}

fn property(text: &mut String, topology: &Topology, region: &Region) {
    let _ = write!(
        text,
        "\n# {name}: the active site, else its standby; both of {jurisdiction}\nresource \"akamai_gtm_property\" \"{code}\" {{\n  \
         domain                 = akamai_gtm_domain.shop.name\n  name                   = \"api.{code}\"\n  type                   = \
         \"ranked-failover\"\n  score_aggregation_type = \"worst\"\n  handout_limit          = 1\n  handout_mode           = \
         \"normal\"\n  dynamic_ttl            = {TTL}\n  ipv6                   = false\n  failover_delay         = 0\n  \
         failback_delay         = 0\n",
        name = region.name,
        jurisdiction = region.jurisdiction,
        code = region.code,
    );
    for (precedence, site) in [(10, region.primary()), (20, region.standby())] {
        let _ = write!(
            text,
            "\n  traffic_target {{\n    datacenter_id = akamai_gtm_datacenter.{}.datacenter_id\n    enabled       = true\n    \
             weight        = 0\n    precedence    = {precedence}\n    servers       = {}\n  }}\n",
            word(&site.name),
            list([&site.edge.address]),
        );
    }
    let _ = write!(
        text,
        "\n  # 200 only where the site is the active one and can write: an unpromoted standby never gets a shopper\n  liveness_test {{\n    \
         name                             = \"site\"\n    test_object                      = \"/healthz/site\"\n    \
         test_object_protocol             = \"HTTPS\"\n    test_object_port                 = 443\n    test_interval                    \
         = {PROBE_SECONDS}\n    test_timeout                     = 5\n    http_error3xx                    = true\n    \
         http_error4xx                    = true\n    http_error5xx                    = true\n    peer_certificate_verification    \
         = true\n    disable_nonstandard_port_warning = false\n\n    http_header {{\n      name  = \"Host\"\n      value = \
         \"api.{}\"\n    }}\n  }}\n}}\n",
        topology.region_domain(region)
    );
}

/// Countries of a region go to its name; everybody else to the default region. A name, not an address, so that failover stays where it is.
fn geography(text: &mut String, topology: &Topology) {
    text.push_str("\nresource \"akamai_gtm_geomap\" \"regions\" {\n  domain = akamai_gtm_domain.shop.name\n  name   = \"regions\"\n");
    if let Some(region) = topology.regions.iter().find(|region| region.code == topology.default_region) {
        let _ = write!(
            text,
            "\n  default_datacenter {{\n    datacenter_id = akamai_gtm_datacenter.{}.datacenter_id\n    nickname      = \"{}\"\n  }}\n",
            word(&region.primary().name),
            region.code
        );
    }
    for region in &topology.regions {
        let _ = write!(
            text,
            "\n  assignment {{\n    datacenter_id = akamai_gtm_datacenter.{}.datacenter_id\n    nickname      = \"{}\"\n    countries     = \
             {}\n  }}\n",
            word(&region.primary().name),
            region.code,
            list(&region.countries)
        );
    }
    let _ = write!(
        text,
        "}}\n\nresource \"akamai_gtm_property\" \"shop\" {{\n  domain                 = akamai_gtm_domain.shop.name\n  name                   \
         = \"shop\"\n  type                   = \"geographic\"\n  score_aggregation_type = \"worst\"\n  handout_limit          = 1\n  \
         handout_mode           = \"normal\"\n  map_name               = akamai_gtm_geomap.regions.name\n  ipv6                   = \
         false\n"
    );
    for region in &topology.regions {
        let _ = write!(
            text,
            "\n  traffic_target {{\n    datacenter_id = akamai_gtm_datacenter.{}.datacenter_id\n    enabled       = true\n    weight        = \
             0\n    handout_cname = \"{}\"\n  }}\n",
            word(&region.primary().name),
            region.host()
        );
    }
    text.push_str("}\n");
}
