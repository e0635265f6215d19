//! Who a client certificate says somebody is.

use std::str::FromStr;

use super::tokens::is_name;
use crate::transport::ClientCertificate;

/// What of a certificate is the principal's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of its subject.
    CommonName,
    /// Its DNS name.
    Dns,
    /// Its URI, such as a SPIFFE ID.
    Uri,
    /// Its e-mail address.
    Email,
}

impl CertificateName {
    /// As the configuration calls them.
    pub const ALL: [(&'static str, Self); 4] = [
        ("cn", Self::CommonName),
        ("san-dns", Self::Dns),
        ("san-uri", Self::Uri),
        ("san-email", Self::Email),
    ];

    /// The name, if the certificate has exactly one of this kind.
    pub(super) fn of(self, certificate: &ClientCertificate) -> Option<&str> {
        let names = match self {
            Self::CommonName => certificate.common_name.as_slice(),
            Self::Dns => &certificate.dns_names,
            Self::Uri => &certificate.uris,
            Self::Email => &certificate.emails,
        };
        match names {
            [name] if is_name(name) => Some(name),
            _ => None,
        }
    }
}

impl FromStr for CertificateName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = Self::ALL.into_iter().find(|(name, _)| *name == text);
        named.map(|(_, it)| it).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_9_the_name_is_of_the_kind_that_is_asked_for_and_the_only_one() {
        let texts = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        let certificate = ClientCertificate {
            subject: "CN=ana".to_owned(),
            common_name: Some("ana".to_owned()),
            dns_names: texts(&["phone.example"]),
            uris: texts(&["spiffe://home/ana"]),
            emails: texts(&["ana@home.example", "ana@office.example"]),
        };
        let named = CertificateName::ALL.map(|(_, kind)| kind.of(&certificate));
        let expected = [
            Some("ana"),
            Some("phone.example"),
            Some("spiffe://home/ana"),
            None,
        ];
        assert_eq!(named, expected);
        let bare = ClientCertificate::default();
        assert!(
            CertificateName::ALL
                .iter()
                .all(|(_, kind)| kind.of(&bare).is_none())
        );
    }
}
