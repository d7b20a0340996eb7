# Written by `cargo xtask render` from deploy/edge/routes.toml; changes are lost at the next run.
# Never run against the vendor; formatted and parsed only.

terraform {
  required_version = ">= 1.5"
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 4.40"
    }
  }
}

variable "zone_eu" {
  type        = string
  description = "the zone of api.eu.shopsphere.example"
  default     = "00000000000000000000000000000001"
}

resource "cloudflare_ruleset" "cache_eu" {
  zone_id = var.zone_eu
  name    = "what may be kept"
  kind    = "zone"
  phase   = "http_request_cache_settings"

  # the last rule that fits decides
  rules {
    ref         = "nothing"
    description = "nothing is kept unless it is named below"
    expression  = "(http.host eq \"api.eu.shopsphere.example\")"
    action      = "set_cache_settings"
    action_parameters {
      cache = false
    }
  }

  rules {
    ref         = "anonymous"
    description = "public pages of people who show neither token nor cookie, as long as the answer says"
    expression  = "(http.host eq \"api.eu.shopsphere.example\" and http.request.method eq \"GET\" and not any(http.request.headers.names[*] eq \"authorization\") and http.cookie eq \"\" and (starts_with(http.request.uri.path, \"/v1/regions\") or starts_with(http.request.uri.path, \"/v1/products\") or starts_with(http.request.uri.path, \"/v1/categories\") or starts_with(http.request.uri.path, \"/v1/search\") or starts_with(http.request.uri.path, \"/v1/prices\") or starts_with(http.request.uri.path, \"/v1/promotions\") or starts_with(http.request.uri.path, \"/v1/stock\")))"
    action      = "set_cache_settings"
    action_parameters {
      cache                = true
      respect_strong_etags = true
      cache_key {
        custom_key {
          header {
            include = ["accept-language"]
          }
        }
      }
      edge_ttl {
        mode = "respect_origin"
      }
      browser_ttl {
        mode = "respect_origin"
      }
    }
  }
}

variable "zone_us" {
  type        = string
  description = "the zone of api.us.shopsphere.example"
  default     = "00000000000000000000000000000002"
}

resource "cloudflare_ruleset" "cache_us" {
  zone_id = var.zone_us
  name    = "what may be kept"
  kind    = "zone"
  phase   = "http_request_cache_settings"

  # the last rule that fits decides
  rules {
    ref         = "nothing"
    description = "nothing is kept unless it is named below"
    expression  = "(http.host eq \"api.us.shopsphere.example\")"
    action      = "set_cache_settings"
    action_parameters {
      cache = false
    }
  }

  rules {
    ref         = "anonymous"
    description = "public pages of people who show neither token nor cookie, as long as the answer says"
    expression  = "(http.host eq \"api.us.shopsphere.example\" and http.request.method eq \"GET\" and not any(http.request.headers.names[*] eq \"authorization\") and http.cookie eq \"\" and (starts_with(http.request.uri.path, \"/v1/regions\") or starts_with(http.request.uri.path, \"/v1/products\") or starts_with(http.request.uri.path, \"/v1/categories\") or starts_with(http.request.uri.path, \"/v1/search\") or starts_with(http.request.uri.path, \"/v1/prices\") or starts_with(http.request.uri.path, \"/v1/promotions\") or starts_with(http.request.uri.path, \"/v1/stock\")))"
    action      = "set_cache_settings"
    action_parameters {
      cache                = true
      respect_strong_etags = true
      edge_ttl {
        mode = "respect_origin"
      }
      browser_ttl {
        mode = "respect_origin"
      }
    }
  }
}

variable "zone_apac" {
  type        = string
  description = "the zone of api.apac.shopsphere.example"
  default     = "00000000000000000000000000000003"
}

resource "cloudflare_ruleset" "cache_apac" {
  zone_id = var.zone_apac
  name    = "what may be kept"
  kind    = "zone"
  phase   = "http_request_cache_settings"

  # the last rule that fits decides
  rules {
    ref         = "nothing"
    description = "nothing is kept unless it is named below"
    expression  = "(http.host eq \"api.apac.shopsphere.example\")"
    action      = "set_cache_settings"
    action_parameters {
      cache = false
    }
  }

  rules {
    ref         = "anonymous"
    description = "public pages of people who show neither token nor cookie, as long as the answer says"
    expression  = "(http.host eq \"api.apac.shopsphere.example\" and http.request.method eq \"GET\" and not any(http.request.headers.names[*] eq \"authorization\") and http.cookie eq \"\" and (starts_with(http.request.uri.path, \"/v1/regions\") or starts_with(http.request.uri.path, \"/v1/products\") or starts_with(http.request.uri.path, \"/v1/categories\") or starts_with(http.request.uri.path, \"/v1/search\") or starts_with(http.request.uri.path, \"/v1/prices\") or starts_with(http.request.uri.path, \"/v1/promotions\") or starts_with(http.request.uri.path, \"/v1/stock\")))"
    action      = "set_cache_settings"
    action_parameters {
      cache                = true
      respect_strong_etags = true
      edge_ttl {
        mode = "respect_origin"
      }
      browser_ttl {
        mode = "respect_origin"
      }
    }
  }
}
