//! What a certificate says in words.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use syncline_protocol::UnixMillis;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Error};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use super::ClientCertificate;

/// Whose a certificate is, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The names that it is for; of one without any, its subject.
    pub names: Vec<String>,
    /// When it begins to be valid.
    pub from: UnixMillis,
    /// When it ends to be valid.
    pub until: UnixMillis,
}

impl CertificateFacts {
    pub(super) fn of(der: &[u8]) -> Result<Self, Error> {
        let certificate = Certificate::from_der(der)?;
        let content = certificate.tbs_certificate();
        let alternatives = content.get_extension::<SubjectAltName>()?;
        let mut names: Vec<_> = alternatives
            .map(|(_, alternatives)| alternatives.0)
            .unwrap_or_default()
            .iter()
            .filter_map(name)
            .collect();
        if names.is_empty() {
            names.push(content.subject().to_string());
        }
        Ok(Self {
            names,
            from: millis(content.validity().not_before),
            until: millis(content.validity().not_after),
        })
    }

    /// Whether it is valid at a time.
    pub fn is_valid_at(&self, now: UnixMillis) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, until] = [self.from, self.until].map(|at| {
            let at = UNIX_EPOCH + Duration::from_millis(at.get());
            humantime::format_rfc3339_seconds(at)
        });
        write!(f, "{}, from {from} until {until}", self.names.join(", "))
    }
}

impl ClientCertificate {
    pub(super) fn of(der: &[u8]) -> Result<Self, Error> {
        let certificate = Certificate::from_der(der)?;
        let content = certificate.tbs_certificate();
        let subject = content.subject();
        let common_name = subject.common_name()?;
        let alternatives = content.get_extension::<SubjectAltName>()?;
        let alternatives = alternatives.map(|(_, it)| it.0).unwrap_or_default();
        let names = |name: fn(&GeneralName) -> Option<String>| {
            let names = alternatives.iter().filter_map(name);
            names.collect()
        };
        Ok(Self {
            subject: subject.to_string(),
            common_name: common_name.map(|name| name.value().into_owned()),
            dns_names: names(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            }),
            uris: names(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
                _ => None,
            }),
            emails: names(|name| match name {
                GeneralName::Rfc822Name(address) => Some(address.to_string()),
                _ => None,
            }),
        })
    }
}

/// A name that a client can have asked for.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|ip| ip.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|it| Ipv4Addr::from(it).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|it| Ipv6Addr::from(it).into());
    v4.or_else(|_| v6()).ok()
}

fn millis(time: Time) -> UnixMillis {
    let since = time.to_unix_duration().as_millis();
    UnixMillis::new(u64::try_from(since).unwrap_or(u64::MAX))
}
