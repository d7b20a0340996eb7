# Written by `cargo xtask render` from topology.toml; changes are lost at the next run.
# Never run against the vendor; formatted and parsed only.

terraform {
  required_version = ">= 1.5"
  required_providers {
    akamai = {
      source  = "akamai/akamai"
      version = "~> 9.0"
    }
  }
}

variable "contract_id" {
  type = string
}

variable "group_id" {
  type = string
}

resource "akamai_gtm_domain" "shop" {
  contract                  = var.contract_id
  group                     = var.group_id
  name                      = "shopsphere.example.akadns.net"
  type                      = "full"
  comment                   = "rendered from topology.toml"
  default_timeout_penalty   = 25
  default_error_penalty     = 75
  load_imbalance_percentage = 10
}

resource "akamai_gtm_datacenter" "rdc_a" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "rdc-a"
  city      = "Frankfurt"
  country   = "DE"
  latitude  = 50.11
  longitude = 8.68
  # jurisdiction EU
  continent = "EU"
}

resource "akamai_gtm_datacenter" "dr_a" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "dr-a"
  city      = "Dublin"
  country   = "IE"
  latitude  = 53.35
  longitude = -6.26
  # jurisdiction EU
  continent = "EU"
}

resource "akamai_gtm_datacenter" "rdc_b" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "rdc-b"
  city      = "Ashburn"
  country   = "US"
  latitude  = 39.04
  longitude = -77.49
  # jurisdiction US
  continent = "NA"
}

resource "akamai_gtm_datacenter" "dr_b" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "dr-b"
  city      = "Chicago"
  country   = "US"
  latitude  = 41.88
  longitude = -87.63
  # jurisdiction US
  continent = "NA"
}

resource "akamai_gtm_datacenter" "rdc_c" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "rdc-c"
  city      = "Singapore"
  country   = "SG"
  latitude  = 1.35
  longitude = 103.82
  # jurisdiction APAC
  continent = "AS"
}

resource "akamai_gtm_datacenter" "dr_c" {
  domain    = akamai_gtm_domain.shop.name
  nickname  = "dr-c"
  city      = "Sydney"
  country   = "AU"
  latitude  = -33.87
  longitude = 151.21
  # jurisdiction APAC
  continent = "OC"
}

# Europe: the active site, else its standby; both of EU
resource "akamai_gtm_property" "eu" {
  domain                 = akamai_gtm_domain.shop.name
  name                   = "api.eu"
  type                   = "ranked-failover"
  score_aggregation_type = "worst"
  handout_limit          = 1
  handout_mode           = "normal"
  dynamic_ttl            = 60
  ipv6                   = false
  failover_delay         = 0
  failback_delay         = 0

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_a.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 10
    servers       = ["203.0.113.11"]
  }

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.dr_a.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 20
    servers       = ["203.0.113.27"]
  }

  # 200 only where the site is the active one and can write: an unpromoted standby never gets a shopper
  liveness_test {
    name                             = "site"
    test_object                      = "/healthz/site"
    test_object_protocol             = "HTTPS"
    test_object_port                 = 443
    test_interval                    = 10
    test_timeout                     = 5
    http_error3xx                    = true
    http_error4xx                    = true
    http_error5xx                    = true
    peer_certificate_verification    = true
    disable_nonstandard_port_warning = false

    http_header {
      name  = "Host"
      value = "api.eu.shopsphere.example"
    }
  }
}

# North America: the active site, else its standby; both of US
resource "akamai_gtm_property" "us" {
  domain                 = akamai_gtm_domain.shop.name
  name                   = "api.us"
  type                   = "ranked-failover"
  score_aggregation_type = "worst"
  handout_limit          = 1
  handout_mode           = "normal"
  dynamic_ttl            = 60
  ipv6                   = false
  failover_delay         = 0
  failback_delay         = 0

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_b.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 10
    servers       = ["203.0.113.43"]
  }

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.dr_b.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 20
    servers       = ["203.0.113.59"]
  }

  # 200 only where the site is the active one and can write: an unpromoted standby never gets a shopper
  liveness_test {
    name                             = "site"
    test_object                      = "/healthz/site"
    test_object_protocol             = "HTTPS"
    test_object_port                 = 443
    test_interval                    = 10
    test_timeout                     = 5
    http_error3xx                    = true
    http_error4xx                    = true
    http_error5xx                    = true
    peer_certificate_verification    = true
    disable_nonstandard_port_warning = false

    http_header {
      name  = "Host"
      value = "api.us.shopsphere.example"
    }
  }
}

# Asia-Pacific: the active site, else its standby; both of APAC
resource "akamai_gtm_property" "apac" {
  domain                 = akamai_gtm_domain.shop.name
  name                   = "api.apac"
  type                   = "ranked-failover"
  score_aggregation_type = "worst"
  handout_limit          = 1
  handout_mode           = "normal"
  dynamic_ttl            = 60
  ipv6                   = false
  failover_delay         = 0
  failback_delay         = 0

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_c.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 10
    servers       = ["203.0.113.75"]
  }

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.dr_c.datacenter_id
    enabled       = true
    weight        = 0
    precedence    = 20
    servers       = ["203.0.113.91"]
  }

  # 200 only where the site is the active one and can write: an unpromoted standby never gets a shopper
  liveness_test {
    name                             = "site"
    test_object                      = "/healthz/site"
    test_object_protocol             = "HTTPS"
    test_object_port                 = 443
    test_interval                    = 10
    test_timeout                     = 5
    http_error3xx                    = true
    http_error4xx                    = true
    http_error5xx                    = true
    peer_certificate_verification    = true
    disable_nonstandard_port_warning = false

    http_header {
      name  = "Host"
      value = "api.apac.shopsphere.example"
    }
  }
}

resource "akamai_gtm_geomap" "regions" {
  domain = akamai_gtm_domain.shop.name
  name   = "regions"

  default_datacenter {
    datacenter_id = akamai_gtm_datacenter.rdc_a.datacenter_id
    nickname      = "eu"
  }

  assignment {
    datacenter_id = akamai_gtm_datacenter.rdc_a.datacenter_id
    nickname      = "eu"
    countries     = ["AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"]
  }

  assignment {
    datacenter_id = akamai_gtm_datacenter.rdc_b.datacenter_id
    nickname      = "us"
    countries     = ["US"]
  }

  assignment {
    datacenter_id = akamai_gtm_datacenter.rdc_c.datacenter_id
    nickname      = "apac"
    countries     = ["AU", "NZ", "SG"]
  }
}

resource "akamai_gtm_property" "shop" {
  domain                 = akamai_gtm_domain.shop.name
  name                   = "shop"
  type                   = "geographic"
  score_aggregation_type = "worst"
  handout_limit          = 1
  handout_mode           = "normal"
  map_name               = akamai_gtm_geomap.regions.name
  ipv6                   = false

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_a.datacenter_id
    enabled       = true
    weight        = 0
    handout_cname = "api.eu.shopsphere.example"
  }

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_b.datacenter_id
    enabled       = true
    weight        = 0
    handout_cname = "api.us.shopsphere.example"
  }

  traffic_target {
    datacenter_id = akamai_gtm_datacenter.rdc_c.datacenter_id
    enabled       = true
    weight        = 0
    handout_cname = "api.apac.shopsphere.example"
  }
}
