//! Whom an upstream's certificate must come from.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The public certification authorities and, where configured, one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Trusts the certificates of a PEM file as well.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn with_file(path: &str) -> Result<Self, String> {
        let own: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("`{path}` cannot be read as PEM: {error}"))?;
        if own.is_empty() {
            return Err(format!("`{path}` holds no certificate"));
        }
        let trust = Self { own };
        trust
            .roots()
            .map_err(|error| format!("`{path}` holds a certificate that cannot be used: {error}"))?;
        Ok(trust)
    }

    /// Settings for a client. Certificates that could not be used were refused by [`Trust::with_file`].
    pub(crate) fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(self.roots()?).with_no_client_auth())
    }

    fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &self.own {
            roots.add(certificate.clone())?;
        }
        Ok(roots)
    }
}
