//! Network addresses: `inet`, `cidr`, `macaddr`, `macaddr8`.

use std::net::IpAddr;

use super::{nibble, trimmed};
use crate::encode::problem::Problem;

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6`, utils/inet.h.
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// Parses `192.168.0.1/24` or `::1` into the form that `inet_recv` and `cidr_recv` of network.c read: family, bits
/// of the network, whether it is a cidr, and the address.
pub(crate) fn address(text: &[u8], cidr: bool, out: &mut Vec<u8>) -> Result<(), Problem> {
    let text = trimmed(text)?;
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| Problem::NotParsed)?;
    let (family, octets) = match &address {
        IpAddr::V4(address) => (IPV4, &address.octets()[..]),
        IpAddr::V6(address) => (IPV6, &address.octets()[..]),
    };
    let count = u8::try_from(octets.len()).map_err(|_| Problem::NotParsed)?;
    let bits = match bits {
        None => 8 * count,
        // A sign is not allowed.
        Some(bits) if bits.starts_with(|c: char| c.is_ascii_digit()) => {
            bits.parse().map_err(|_| Problem::NotParsed)?
        }
        Some(_) => return Err(Problem::NotParsed),
    };
    if bits > 8 * count || cidr && has_host_bits(octets, bits.into()) {
        return Err(Problem::NotParsed);
    }
    out.extend_from_slice(&[family, bits, cidr.into(), count]);
    out.extend_from_slice(octets);
    Ok(())
}

/// Returns whether a bit to the right of the mask is set.
fn has_host_bits(octets: &[u8], bits: usize) -> bool {
    octets.iter().enumerate().any(|(index, octet)| {
        let masked = bits.saturating_sub(8 * index).min(8);
        u16::from(*octet) << masked & 0xff != 0
    })
}

/// Parses `08:00:2b:01:02:03`, with colons, hyphens, points or nothing between groups of the same length. It has
/// six bytes, or eight where the column has them (`macaddr8_recv` of mac8.c takes both).
pub(crate) fn hardware_address(
    text: &[u8],
    bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let text = trimmed(text)?;
    let separator = text.chars().find(|c| matches!(c, ':' | '-' | '.'));
    let groups: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    let length = groups.first().map_or(0, |group| group.len());
    let digits: Vec<u8> = groups.concat().bytes().map_while(nibble).collect();
    let even = groups.iter().all(|group| group.len() == length);
    let whole = digits.len() == 12 || digits.len() == 2 * bytes;
    if !even || !whole || digits.len() != length * groups.len() || !length.is_multiple_of(2) {
        return Err(Problem::NotParsed);
    }
    let (pairs, _) = digits.as_chunks::<2>();
    out.extend(pairs.iter().map(|[high, low]| high << 4 | low));
    Ok(())
}
