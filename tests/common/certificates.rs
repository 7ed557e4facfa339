//! Certificates that are created with `openssl`.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::run;

/// A directory with a `NAME.pem` and a `NAME.key` for each certificate.
pub struct Certificates(TempDir);

impl Certificates {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// Creates a CA.
    pub fn authority(&self, name: &str) {
        self.make(name, name, &["-x509", "-days", "30"], "pem");
    }

    /// Issues a certificate for a host name.
    pub fn issue(&self, name: &str, authority: &str, host: &str) {
        self.issue_for(name, authority, host, &format!("DNS:{host}"));
    }

    /// Issues a certificate for an IP address.
    pub fn issue_for_address(&self, name: &str, authority: &str, address: &str) {
        self.issue_for(name, authority, address, &format!("IP:{address}"));
    }

    fn issue_for(&self, name: &str, authority: &str, host: &str, alternative: &str) {
        self.make(name, host, &[], "csr");
        let extensions = format!("{name}.ext");
        self.write(
            &extensions,
            &format!("basicConstraints = CA:FALSE\nsubjectAltName = {alternative}\n"),
        );
        let [request, made] = ["csr", "pem"].map(|ending| self.path(&format!("{name}.{ending}")));
        let [ca, ca_key] = ["pem", "key"].map(|ending| self.path(&format!("{authority}.{ending}")));
        let extensions = self.path(&extensions);
        let arguments = [
            "x509",
            "-req",
            "-in",
            &request,
            "-out",
            &made,
            "-days",
            "30",
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &extensions,
        ];
        run("openssl", &arguments);
    }

    /// Replaces a certificate and its key by another.
    pub fn replace(&self, name: &str, replaced: &str) {
        for ending in ["pem", "key"] {
            let from = self.file(&format!("{name}.{ending}"));
            fs::copy(from, self.file(&format!("{replaced}.{ending}"))).unwrap();
        }
    }

    fn make(&self, name: &str, subject: &str, more: &[&str], ending: &str) {
        let key = self.path(&format!("{name}.key"));
        let made = self.path(&format!("{name}.{ending}"));
        let subject = format!("/CN={subject}");
        let arguments = [
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &made,
            "-subj",
            &subject,
        ];
        run("openssl", &[&arguments[..], more].concat());
    }
}
