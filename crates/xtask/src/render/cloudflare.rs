//! The CDN as Terraform for Cloudflare. Decided here: only paths that the table of routes marks may be kept, only for people who show neither
//! a token nor a cookie, and only as long as the answer itself says. Everything else is passed through, so a new route is private. The CDN
//! does not read `Vary`, so where a region has several languages what a browser asks for is part of the key.

use std::fmt::Write;

use super::text::header;
use super::{Output, Sources};

pub fn outputs(sources: &Sources) -> Vec<Output> {
    vec![Output::new("deploy/edge/cloudflare/cache.tf", terraform(sources))]
}

/// A page in German is not the answer to who asks for it in French. A German browser that also takes English has a copy of its own: the
/// service decides by the whole header, and so does this.
const LANGUAGES_IN_KEY: &str = "      cache_key {\n        custom_key {\n          header {\n            include = [\"accept-language\"]\n          }\n        }\n      }\n";

fn terraform(sources: &Sources) -> String {
    let mut text = header(super::routes::SOURCE);
    text.push_str(
        "# Never run against the vendor; formatted and parsed only.\n\nterraform {\n  required_version = \">= 1.5\"\n  required_providers {\n    \
         cloudflare = {\n      source  = \"cloudflare/cloudflare\"\n      version = \"~> 4.40\"\n    }\n  }\n}\n",
    );
    let shared = sources.routes.routes.iter().filter(|route| route.cache).flat_map(|route| &route.paths);
    let paths: Vec<_> = shared.map(|path| format!("starts_with(http.request.uri.path, \\\"{path}\\\")")).collect();
    for region in &sources.topology.regions {
        let key = if region.languages.len() > 1 { LANGUAGES_IN_KEY } else { "" };
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\nvariable \"zone_{code}\" {{\n  type        = string\n  description = \"the zone of {host}\"\n  default     = \"{zone}\"\n}}\n\nresource \
             \"cloudflare_ruleset\" \"cache_{code}\" {{\n  zone_id = var.zone_{code}\n  name    = \"what may be kept\"\n  kind    = \
             \"zone\"\n  phase   = \"http_request_cache_settings\"\n\n  # the last rule that fits decides\n  rules {{\n    ref         = \
             \"nothing\"\n    description = \"nothing is kept unless it is named below\"\n    expression  = \"(http.host eq \
             \\\"{host}\\\")\"\n    action      = \"set_cache_settings\"\n    action_parameters {{\n      cache = false\n    }}\n  }}\n\n  rules \
             {{\n    ref         = \"anonymous\"\n    description = \"public pages of people who show neither token nor cookie, as \
             long as the answer says\"\n    expression  = \"(http.host eq \\\"{host}\\\" and http.request.method eq \\\"GET\\\" and not \
             any(http.request.headers.names[*] eq \\\"authorization\\\") and http.cookie eq \\\"\\\" and ({paths}))\"\n    action      = \
             \"set_cache_settings\"\n    action_parameters {{\n      cache                = true\n      respect_strong_etags = true\n{key}      edge_ttl {{\n        mode = \
             \"respect_origin\"\n      }}\n      browser_ttl {{\n        mode = \"respect_origin\"\n      }}\n    }}\n  }}\n}}\n",
            code = region.code,
            host = region.host(),
            zone = region.cdn_zone,
            paths = paths.join(" or "),
        );
    }
    text
}
