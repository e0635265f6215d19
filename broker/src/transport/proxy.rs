//! Version 2 of the PROXY protocol: what a load balancer says before the bytes of its client.
//!
//! Source of the format: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const HEAD_BYTES: usize = 16;
/// Addresses and the extensions behind them; what a load balancer says is far below.
const REST_BYTES_MAX: usize = 4_096;

/// Why a connection does not begin with a header that is taken.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The signature is missing: no load balancer, or version 1.
    #[error("no PROXY header of version 2; the load balancer must send one on this port")]
    Missing,
    /// Another version or an unknown command.
    #[error("a PROXY header of an unknown version or command ({0:#04x})")]
    Command(u8),
    /// Not a stream, or a family that does not exist.
    #[error("a PROXY header for no TCP connection ({0:#04x})")]
    Family(u8),
    /// Too short for its addresses, or too long to be read.
    #[error("a PROXY header with {0} bytes after its head")]
    Length(usize),
    /// The connection ended within it.
    #[error("the PROXY header was not read: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads a header and nothing behind it. The address of the client; none if the load balancer speaks for itself
/// (it looks whether we live) or does not know.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<SocketAddr>, ProxyError> {
    let mut head = [0; HEAD_BYTES];
    // Alone, because what is no header may end here.
    stream.read_exact(&mut head[..SIGNATURE.len()]).await?;
    if !head.starts_with(&SIGNATURE) {
        return Err(ProxyError::Missing);
    }
    stream.read_exact(&mut head[SIGNATURE.len()..]).await?;
    let length = rest_length(&head)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    client(&head, &rest)
}

/// How many bytes come after the head.
fn rest_length(head: &[u8; HEAD_BYTES]) -> Result<usize, ProxyError> {
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > REST_BYTES_MAX {
        return Err(ProxyError::Length(length));
    }
    Ok(length)
}

fn client(head: &[u8; HEAD_BYTES], rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let (command, family) = (head[12], head[13]);
    let short = || ProxyError::Length(rest.len());
    match (command, family) {
        // Of its own; whatever stands behind does not count.
        (0x20, _) => Ok(None),
        (0x21, 0x11) => v4(rest).map(Some).ok_or_else(short),
        (0x21, 0x21) => v6(rest).map(Some).ok_or_else(short),
        // Not known, or a Unix socket of the load balancer's.
        (0x21, 0x00 | 0x31) => Ok(None),
        (0x21, family) => Err(ProxyError::Family(family)),
        (command, _) => Err(ProxyError::Command(command)),
    }
}

/// Source, destination, and the port of each.
fn v4(rest: &[u8]) -> Option<SocketAddr> {
    let addresses: &[u8; 12] = rest.first_chunk()?;
    let source: [u8; 4] = *addresses.first_chunk()?;
    let port = u16::from_be_bytes([addresses[8], addresses[9]]);
    Some((Ipv4Addr::from(source), port).into())
}

fn v6(rest: &[u8]) -> Option<SocketAddr> {
    let addresses: &[u8; 36] = rest.first_chunk()?;
    let source: [u8; 16] = *addresses.first_chunk()?;
    let port = u16::from_be_bytes([addresses[32], addresses[33]]);
    Some((Ipv6Addr::from(source), port).into())
}

/// An address, or all that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits must be alike.
    bits: u32,
}

/// How many bits stand before an IPv4 address that is written as IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u32 = 96;

/// It is neither an address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no IP address and no network such as 10.0.0.0/8")]
pub struct NoNetwork;

impl Network {
    /// Whether an address is in it. An IPv4 address is the same whether or not it is written as IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(its)) => {
                let differs = u128::from(ours.to_bits() ^ its.to_bits()) << 96;
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(its)) => {
                (ours.to_bits() ^ its.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| NoNetwork)?;
        if bits > all {
            return Err(NoNetwork);
        }
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
        let is_mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        Ok(match is_mapped && bits >= MAPPED_BITS {
            true => Self {
                address: address.to_canonical(),
                bits: bits - MAPPED_BITS,
            },
            false => Self { address, bits },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    fn parse(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, usize) {
        let before = bytes.len();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let read = runtime.unwrap().block_on(read(&mut bytes));
        (read, before - bytes.len())
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 127, 0, 0, 1, 0xc0, 0x01, 0x07, 0x5b];

    #[test]
    fn a_client_is_where_the_header_says_and_nothing_behind_it_is_read() {
        let extensions = [&V4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let bytes = [header(0x21, 0x11, &extensions), b"MQTT".to_vec()].concat();
        let (read, taken) = parse(&bytes);
        assert_eq!(read.unwrap(), Some("192.0.2.7:49153".parse().unwrap()));
        assert_eq!(taken, bytes.len() - 4);
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[33] = 9;
        let (read, _) = parse(&header(0x21, 0x21, &v6));
        assert_eq!(read.unwrap(), Some("[2001:db8::7]:9".parse().unwrap()));
    }

    #[test]
    fn a_load_balancer_that_speaks_for_itself_names_nobody() {
        for bytes in [
            header(0x20, 0, &[]),
            header(0x20, 0x11, &V4),
            header(0x21, 0, &[]),
        ] {
            assert_eq!(parse(&bytes).0.unwrap(), None);
        }
    }

    #[test]
    fn what_is_malformed_is_refused_by_name() {
        assert!(matches!(
            parse(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n").0,
            Err(ProxyError::Missing)
        ));
        // A CONNECT, as short as they are: whoever sends it waits for the answer.
        assert!(matches!(
            parse(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0").0,
            Err(ProxyError::Missing)
        ));
        assert!(matches!(
            parse(&header(0x11, 0x11, &V4)).0,
            Err(ProxyError::Command(0x11))
        ));
        assert!(matches!(
            parse(&header(0x22, 0x11, &V4)).0,
            Err(ProxyError::Command(0x22))
        ));
        assert!(matches!(
            parse(&header(0x21, 0x12, &V4)).0,
            Err(ProxyError::Family(0x12))
        ));
        assert!(matches!(
            parse(&header(0x21, 0x11, &V4[..11])).0,
            Err(ProxyError::Length(11))
        ));
        assert!(matches!(
            parse(&header(0x21, 0x11, &[0; 5_000])).0,
            Err(ProxyError::Length(5_000))
        ));
        assert!(matches!(
            parse(&header(0x21, 0x11, &V4)[..20]).0,
            Err(ProxyError::Io(_))
        ));
    }

    #[test]
    fn a_network_contains_what_begins_alike() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.255.0.1"));
        assert!(!contains("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(contains("::ffff:10.0.0.7", "::ffff:10.0.0.7"));
        assert!(contains("10.0.0.7", "10.0.0.7"));
        assert!(!contains("10.0.0.7", "10.0.0.6"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "home/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_and_never_more_than_the_header_is_read(
            head in prop::array::uniform4(any::<u8>()),
            rest in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let bytes = [&SIGNATURE[..], &head, &rest].concat();
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (read, taken) = parse(&bytes);
            prop_assert!(taken <= HEAD_BYTES + length);
            if read.is_ok() {
                prop_assert_eq!(taken, HEAD_BYTES + length);
            }
        }
    }
}
