//! A Node worker's wish to listen, in Node's words and in ours.
//!
//! The worker says the same thing twice: as a question (`queryServer`), and when it listens
//! (`listening`), then with the real port. No key comes with the second, so the question is
//! remembered and found again by what both have in common.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::message::{BoundAddress, ListenAddress, ListenOptions, QueryId, ServerQuery};

/// Longest address, in bytes: that of a path (`PATH_MAX`). It is remembered while the worker
/// listens there.
const ADDRESS_MAX: usize = 4096;

/// Longest `data`, in bytes: what a native worker's frame could carry. Node puts TLS ticket
/// keys there, a hundred bytes.
const DATA_MAX: usize = 64 * 1024;

/// The bit of `flags` that makes an IPv6 socket refuse IPv4 (`UV_TCP_IPV6ONLY`, and the same
/// for UDP). Node's other bits concern address reuse, which the master decides.
const IPV6_ONLY: i64 = 1;

/// A port that there is not.
const NO_PORT: i64 = -1;

/// What the worker asked, as it asked it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    /// What our answer has to name.
    pub(super) seq: u64,
    #[serde(default)]
    index: u32,
    address: Option<String>,
    #[serde(default, deserialize_with = "port")]
    port: Option<i64>,
    #[serde(default, deserialize_with = "family")]
    address_type: Option<Family>,
    fd: Option<i32>,
    flags: Option<i64>,
    #[serde(default, deserialize_with = "backlog")]
    backlog: Option<u32>,
    #[serde(default, deserialize_with = "truth")]
    readable_all: bool,
    #[serde(default, deserialize_with = "truth")]
    writable_all: bool,
    #[serde(default, deserialize_with = "data")]
    pub(super) data: Option<String>,
}

/// Node's `addressType`: 4, 6, -1 for a path, or the name of a kind of UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Family {
    Number(i64),
    Name(String),
}

// Fields of more than one type are read from their text. Serde's own way for that builds a
// tree of whatever stands there first, many times its length.

fn family<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Family>, D::Error> {
    let text = <&RawValue>::deserialize(field)?.get();
    if let Ok(number) = text.parse() {
        return Ok(Some(Family::Number(number)));
    }
    let name: Option<String> = serde_json::from_str(text).map_err(serde::de::Error::custom)?;
    let longest = "udp4".len();
    Ok(name.filter(|name| name.len() <= longest).map(Family::Name))
}

/// Node passes on what the program gave, and takes it for a number later: text is as good, and
/// what is no number at all is no port.
fn port<'de, D: Deserializer<'de>>(field: D) -> Result<Option<i64>, D::Error> {
    let text = <&RawValue>::deserialize(field)?.get();
    if text == "null" {
        return Ok(None);
    }
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let number = quoted.unwrap_or(text).trim();
    // JavaScript's reading of an empty text.
    if number.is_empty() {
        return Ok(Some(0));
    }
    Ok(Some(number.parse().unwrap_or(NO_PORT)))
}

/// Whether JavaScript takes a value for true, other than the oddest zeros.
fn truth<'de, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    let text = <&RawValue>::deserialize(field)?.get();
    Ok(!matches!(text, "false" | "null" | "0" | "\"\""))
}

/// Node says `false` or 0 for a backlog that was not given.
fn backlog<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    let length: i64 = <&RawValue>::deserialize(field)?.get().parse().unwrap_or(0);
    let length = u32::try_from(length.clamp(0, i64::from(u32::MAX)));
    Ok(length.ok().filter(|length| *length > 0))
}

fn data<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let text = <&RawValue>::deserialize(field)?.get();
    if text.len() > DATA_MAX {
        let problem = format!("{} bytes of data, and {DATA_MAX} is the most", text.len());
        return Err(serde::de::Error::custom(problem));
    }
    Ok((text != "null").then(|| text.to_owned()))
}

impl Asked {
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        let asked: Self = serde_json::from_str(text)?;
        let len = asked.address.as_ref().map_or(0, String::len);
        if len > ADDRESS_MAX {
            let problem = format!("an address of {len} bytes, and {ADDRESS_MAX} is the longest");
            return Err(serde::de::Error::custom(problem));
        }
        Ok(asked)
    }

    /// Returns the question in our words, or `None` if it names no place that exists.
    pub(super) fn query(&self, query: QueryId) -> Option<ServerQuery> {
        let address = self.place()?;
        let chosen_by_kernel = match &address {
            ListenAddress::Tcp(address) | ListenAddress::Udp(address) => address.port() == 0,
            ListenAddress::TcpAny { port } => *port == 0,
            ListenAddress::Unix(_) | ListenAddress::Inherited { .. } => false,
        };
        Some(ServerQuery {
            query,
            address,
            // Node 20 counts fixed ports as well, and forgets to count down when a listen
            // fails: the next one would not share with the other workers.
            index: if chosen_by_kernel { self.index } else { 0 },
            options: ListenOptions {
                backlog: self.backlog,
                ipv6_only: self.flags.is_some_and(|flags| flags & IPV6_ONLY != 0),
                readable_all: self.readable_all,
                writable_all: self.writable_all,
            },
            data: self.data.clone().map(String::into_bytes),
        })
    }

    pub(super) fn is_udp(&self) -> bool {
        matches!(&self.address_type, Some(Family::Name(name)) if name.starts_with("udp"))
    }

    pub(super) fn is_path(&self) -> bool {
        self.address_type == Some(Family::Number(-1))
    }

    fn place(&self) -> Option<ListenAddress> {
        // UDP says -1 for none, TCP says nothing.
        if let Some(descriptor) = self.fd.filter(|number| *number >= 0) {
            return Some(ListenAddress::Inherited { descriptor });
        }
        match self.address_type.as_ref()? {
            Family::Number(-1) => self.path(),
            Family::Number(4) if self.address.is_none() => {
                let port = self.port()?;
                Some(ListenAddress::TcpAny { port })
            }
            Family::Number(4 | 6) => self.socket_address().map(ListenAddress::Tcp),
            Family::Name(_) if self.is_udp() => self.socket_address().map(ListenAddress::Udp),
            Family::Number(_) | Family::Name(_) => None,
        }
    }

    fn path(&self) -> Option<ListenAddress> {
        let path = PathBuf::from(self.address.as_ref()?);
        path.is_absolute().then_some(ListenAddress::Unix(path))
    }

    fn port(&self) -> Option<u16> {
        // `bind()` without a port names none, and gets any.
        let none = self.is_udp().then_some(0);
        u16::try_from(self.port.or(none)?).ok()
    }

    fn socket_address(&self) -> Option<SocketAddr> {
        let port = self.port()?;
        match &self.address {
            None => Some((self.unspecified(), port).into()),
            Some(address) => match address.parse::<IpAddr>() {
                Ok(address) => Some((address, port).into()),
                // A link-local address with its interface's number; a name is not looked up.
                Err(_) => format!("[{address}]:{port}").parse().ok(),
            },
        }
    }

    fn unspecified(&self) -> IpAddr {
        match &self.address_type {
            Some(Family::Name(name)) if name == "udp4" => std::net::Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Returns whether `listening` is what the worker says once it listens at `bound`, having
    /// asked this.
    pub(super) fn is_heard_in(&self, listening: &Self, bound: &BoundAddress) -> bool {
        let named_alike = self.address == listening.address
            && self.address_type == listening.address_type
            && self.fd == listening.fd
            && self.index == listening.index;
        let real_port = match bound {
            BoundAddress::Ip(address) => Some(i64::from(address.port())),
            BoundAddress::Unix(_) => None,
        };
        named_alike && real_port.is_none_or(|port| listening.port == Some(port))
    }
}
