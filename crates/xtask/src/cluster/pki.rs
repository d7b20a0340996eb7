//! Who is who in a cluster of our own: an authority that lives as long as the cluster, and what it has signed. Decided here: the names that
//! Kubernetes knows its parts by; openssl does the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::os;
use crate::provision::debian;

/// A cluster that is thrown away lives for days at most.
const DAYS: &str = "30";
const CURVE: [&str; 3] = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// The authority and its folder.
#[derive(Debug, Clone)]
pub struct Authority {
    pub folder: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When openssl is missing and cannot be installed, or fails.
    pub fn create(folder: &Path) -> Result<Authority> {
        if os::which("openssl").is_none() {
            debian::install(&["openssl"])?;
        }
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let authority = Authority { folder: folder.to_owned() };
        let mut make = authority.openssl(&["req", "-x509", "-nodes", "-days", DAYS, "-newkey"]);
        make.args(CURVE).args(["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=shopsphere-cluster"]);
        os::output(&mut make)?;
        let mut key = authority.openssl(&["genpkey", "-algorithm"]);
        os::output(
            key.args(CURVE.map(|word| if word == "ec" { "EC" } else { word })).args(["-out", "service-accounts.key"]),
        )?;
        // The API server knows no public key in a private one of this form.
        let mut public = authority.openssl(&["pkey", "-pubout", "-in", "service-accounts.key"]);
        os::output(public.args(["-out", "service-accounts.key.pub"]))?;
        Ok(authority)
    }

    /// A key and its certificate, `<name>.key` and `<name>.crt`: for a subject as openssl writes it, reachable by `names`.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn sign(&self, name: &str, subject: &str, names: &[&str]) -> Result<()> {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        let mut ask = self.openssl(&["req", "-nodes", "-newkey"]);
        os::output(ask.args(CURVE).args(["-keyout", &key, "-out", &request, "-subj", subject]))?;
        let mut said = "extendedKeyUsage=serverAuth,clientAuth\n".to_owned();
        if !names.is_empty() {
            said.push_str(&format!("subjectAltName={}\n", names.join(",")));
        }
        let extensions = format!("{name}.ext");
        fs::write(self.folder.join(&extensions), said)?;
        let mut sign =
            self.openssl(&["x509", "-req", "-days", DAYS, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]);
        os::output(sign.args(["-in", &request, "-out", &certificate, "-extfile", &extensions]))?;
        Ok(())
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// How somebody who was signed reaches the API server.
    pub fn kubeconfig(&self, name: &str, server: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: local, cluster: {{server: \"{server}\", certificate-authority: \
             \"{}\"}}}}]\nusers: [{{name: me, user: {{client-certificate: \"{}\", client-key: \"{}\"}}}}]\ncontexts: [{{name: \
             local, context: {{cluster: local, user: me}}}}]\ncurrent-context: local\n",
            self.path("ca.crt"),
            self.path(&format!("{name}.crt")),
            self.path(&format!("{name}.key")),
        )
    }

    fn openssl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(&self.folder);
        command
    }
}
