//! How standard types stand in a frame where serde's own compact form falls short.
//!
//! Text formats keep serde's form: only what is not human-readable is written differently.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A socket address with all that it holds.
///
/// Serde's compact form of an IPv6 address drops its scope, and a link-local address cannot
/// be bound, or answered, without one.
pub(crate) mod address {
    use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Form {
        V4(SocketAddrV4),
        V6 {
            address: SocketAddrV6,
            flow: u32,
            scope: u32,
        },
    }

    pub(crate) fn serialize<S: Serializer>(
        address: &SocketAddr,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return address.serialize(serializer);
        }
        let form = match *address {
            SocketAddr::V4(address) => Form::V4(address),
            SocketAddr::V6(address) => Form::V6 {
                address,
                flow: address.flowinfo(),
                scope: address.scope_id(),
            },
        };
        form.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SocketAddr, D::Error> {
        if deserializer.is_human_readable() {
            return SocketAddr::deserialize(deserializer);
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::V4(address) => SocketAddr::V4(address),
            Form::V6 {
                address,
                flow,
                scope,
            } => SocketAddr::V6(SocketAddrV6::new(
                *address.ip(),
                address.port(),
                flow,
                scope,
            )),
        })
    }
}

/// An [`address`] that may be missing.
pub(crate) mod optional_address {
    use std::net::SocketAddr;

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Whole(#[serde(with = "super::address")] SocketAddr);

    pub(crate) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        address.map(Whole).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(address)| address))
    }
}

/// Bytes that may be missing.
///
/// Serde takes a `Vec<u8>` for a sequence like any other and reserves up to a megabyte for
/// the length that a frame claims; as bytes, the length is checked against the limit first.
pub(crate) mod optional_bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    struct Borrowed<'a>(&'a [u8]);
    struct Owned(Vec<u8>);

    impl Serialize for Borrowed<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    impl<'de> Deserialize<'de> for Owned {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Bytes;
            impl Visitor<'_> for Bytes {
                type Value = Owned;

                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str("bytes")
                }

                fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Owned, E> {
                    Ok(Owned(bytes))
                }
            }
            deserializer.deserialize_byte_buf(Bytes)
        }
    }

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return bytes.serialize(serializer);
        }
        bytes.as_deref().map(Borrowed).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        if deserializer.is_human_readable() {
            return Option::deserialize(deserializer);
        }
        Ok(Option::<Owned>::deserialize(deserializer)?.map(|Owned(bytes)| bytes))
    }
}
