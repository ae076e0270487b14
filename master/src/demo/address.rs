//! Where the demo listens, and whether it can.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::str::FromStr;

/// A place to listen, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// One address of this machine.
    One(SocketAddr),
    /// This port of every address.
    Every(u16),
}

impl Address {
    /// Binds it and lets it go again, so that what is wrong is known before anything is
    /// started. Another program may still take it in between; then the workers are told.
    ///
    /// # Errors
    ///
    /// Those of binding.
    pub(crate) fn try_bind(self) -> io::Result<()> {
        // Like the master's own, std's listeners set SO_REUSEADDR, so that clients of a
        // former run that linger in TIME_WAIT are no obstacle.
        match self {
            Self::One(address) => TcpListener::bind(address).map(drop),
            Self::Every(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
                Err(error) if lacks_ipv6(&error) => {
                    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop)
                }
                bound => bound.map(drop),
            },
        }
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::One(address));
        }
        let local = text
            .strip_prefix("localhost:")
            .and_then(|port| port.parse().ok());
        if let Some(port) = local {
            return Ok(Self::One((Ipv4Addr::LOCALHOST, port).into()));
        }
        let port = text.strip_prefix(':').unwrap_or(text).parse();
        port.map(Self::Every).map_err(|_| {
            "give an address such as 127.0.0.1:5000 or [::1]:5000, or :5000 for every address; \
             ports end at 65535"
                .to_owned()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => write!(formatter, "{address}"),
            Self::Every(port) => write!(formatter, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_written_as_a_worker_reads_it() {
        for (text, written) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("localhost:5000", "127.0.0.1:5000"),
            ("[::1]:80", "[::1]:80"),
            (":3000", ":3000"),
            ("3000", ":3000"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn nonsense_is_told_what_would_be_right() {
        for text in [
            "",
            ":",
            "here",
            "127.0.0.1",
            "127.0.0.1:70000",
            "::1:x",
            "-1",
        ] {
            let refusal = text.parse::<Address>().unwrap_err();
            assert!(refusal.contains("127.0.0.1:5000"), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_port_in_use_is_found_out_and_a_free_one_is_left_free() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::One(holder.local_addr().unwrap());
        let error = address.try_bind().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(holder);
        assert!(address.try_bind().is_ok());
        assert!(address.try_bind().is_ok());
    }
}
