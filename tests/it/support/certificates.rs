//! Certificates for a test: an authority, and the certificates that it signs.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// A folder of certificates in PEM, removed when it is dropped.
pub struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes a folder with an authority, in `ca.crt`.
    pub fn new() -> Self {
        let name = format!("pgflight-tls-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir(&folder).unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// Makes a certificate for a host in `NAME.crt`, and its key in `NAME.key`.
    pub fn sign(&self, name: &str, host: &str) {
        self.sign_as(name, host, &[(DnType::CommonName, host)]);
    }

    /// Makes a certificate as [`Certificates::sign`] does, with this subject.
    pub fn sign_as(&self, name: &str, host: &str, subject: &[(DnType, &str)]) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([host.to_owned()]).unwrap();
        for (kind, value) in subject {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Makes a certificate as [`Certificates::sign`] does, whose validity ends on this day.
    pub fn sign_until(&self, name: &str, host: &str, year: i32, month: u8, day: u8) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([host.to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, month, day);
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The path of a file, for an option.
    pub fn name(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
