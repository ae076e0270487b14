//! Where a worker wants to listen, and how: what a program says, turned into what is asked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use maitred_protocol::message::{ListenAddress, ListenOptions};

/// Where and how to listen. Most programs need no more than an address:
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let listener = maitred_worker::listen("127.0.0.1:5000").await?;
/// # Ok(())
/// # }
/// ```
///
/// The rest is for those who want to say more:
///
/// ```no_run
/// use maitred_worker::Listen;
///
/// # async fn example() -> std::io::Result<()> {
/// let listener = Listen::any(3000).backlog(1024).connections_max(500).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Listen {
    place: Place,
    pub(crate) options: ListenOptions,
    pub(crate) exclusive: bool,
    pub(crate) connections_max: Option<usize>,
    pub(crate) data: Option<Vec<u8>>,
}

/// What a program named.
#[derive(Clone, Debug)]
enum Place {
    Address(ListenAddress),
    /// A host and port that have to be looked up.
    Host(String),
    /// A Unix path, perhaps relative to this process's directory.
    Path(PathBuf),
}

impl Listen {
    fn at(place: Place) -> Self {
        Self {
            place,
            options: ListenOptions::default(),
            exclusive: false,
            connections_max: None,
            data: None,
        }
    }

    /// Listens on one TCP address. Port 0 lets the kernel choose: the n-th such listen of
    /// every worker shares one port.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::at(Place::Address(ListenAddress::Tcp(address)))
    }

    /// Listens on every TCP address: IPv6 and IPv4, or IPv4 alone where there is no IPv6.
    #[must_use]
    pub fn any(port: u16) -> Self {
        Self::at(Place::Address(ListenAddress::TcpAny { port }))
    }

    /// Listens on a Unix socket at a path. A socket that a dead program left there is
    /// replaced; a path longer than a socket's address holds works, too.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::at(Place::Path(path.as_ref().to_owned()))
    }

    /// Listens on a socket that the master inherited (of systemd, for instance), by its
    /// number there; without a master, by its number here.
    #[must_use]
    pub fn inherited(descriptor: RawFd) -> Self {
        Self::at(Place::Address(ListenAddress::Inherited { descriptor }))
    }

    /// Sets how many finished handshakes the kernel may keep waiting; by default as many as
    /// the system allows (`net.core.somaxconn`). The first worker that asks decides.
    #[must_use]
    pub fn backlog(mut self, length: u32) -> Self {
        self.options.backlog = Some(length);
        self
    }

    /// Sets whether an IPv6 socket refuses IPv4 clients.
    #[must_use]
    pub fn ipv6_only(mut self, only: bool) -> Self {
        self.options.ipv6_only = only;
        self
    }

    /// Binds the address in this process alone, even under a master: then no other worker
    /// can have it, and connections do not come through the master.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Sets how many connections may be open at once.
    ///
    /// One more is given back to the master, for another worker. Where this process accepts
    /// by itself (no master, exclusive, policies `shared` and `kernel`) it is closed, as in Node.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = Some(connections);
        self
    }

    /// Lets every user of the system read from a Unix socket.
    #[must_use]
    pub fn readable_all(mut self, readable: bool) -> Self {
        self.options.readable_all = readable;
        self
    }

    /// Lets every user of the system connect to a Unix socket.
    #[must_use]
    pub fn writable_all(mut self, writable: bool) -> Self {
        self.options.writable_all = writable;
        self
    }

    /// Gives bytes to every worker of this address: the first ones given are kept by the
    /// master, and [`Listener::data`](crate::Listener::data) returns them to all. (So TLS
    /// ticket keys are shared.) They must fit into a frame of 64 KiB.
    #[must_use]
    pub fn data(mut self, bytes: Vec<u8>) -> Self {
        self.data = Some(bytes);
        self
    }

    /// Finds out which address is meant: host names are looked up, relative paths made
    /// absolute, since the master's directory may be another one.
    pub(crate) async fn resolve(&self) -> io::Result<ListenAddress> {
        match &self.place {
            Place::Address(address) => Ok(address.clone()),
            Place::Path(path) => Ok(ListenAddress::Unix(std::path::absolute(path)?)),
            Place::Host(host) => look_up(host).await.map(ListenAddress::Tcp),
        }
    }
}

/// Looks a host and port up; the first address counts, as with tokio's own `bind`.
pub(crate) async fn look_up(host: &str) -> io::Result<SocketAddr> {
    let found = tokio::net::lookup_host(host).await.map_err(|error| {
        let text = format!("`{host}` is no address such as 127.0.0.1:5000 ({error})");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    let mut found = found;
    found.next().ok_or_else(|| {
        let text = format!("`{host}` has no address");
        io::Error::new(io::ErrorKind::AddrNotAvailable, text)
    })
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::tcp(address)
    }
}

impl From<(IpAddr, u16)> for Listen {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::tcp(address.into())
    }
}

/// A port alone means every address.
impl From<u16> for Listen {
    fn from(port: u16) -> Self {
        Self::any(port)
    }
}

/// `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`; `:5000` and `5000` mean every address.
impl From<&str> for Listen {
    fn from(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Self::tcp(address);
        }
        match text.strip_prefix(':').unwrap_or(text).parse() {
            Ok(port) => Self::any(port),
            Err(_) => Self::at(Place::Host(text.to_owned())),
        }
    }
}

impl From<&String> for Listen {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Listen {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn meant(text: &str) -> io::Result<ListenAddress> {
        Listen::from(text).resolve().await
    }

    #[tokio::test]
    async fn addresses_read_as_people_write_them() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().unwrap());
        assert_eq!(meant("127.0.0.1:80").await.unwrap(), tcp("127.0.0.1:80"));
        assert_eq!(meant("[::1]:80").await.unwrap(), tcp("[::1]:80"));
        for any in [":80", "80"] {
            assert_eq!(
                meant(any).await.unwrap(),
                ListenAddress::TcpAny { port: 80 }
            );
        }
    }

    #[tokio::test]
    async fn nonsense_is_told_what_would_be_right() {
        let error = meant("no address").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("127.0.0.1:5000"), "{error}");
    }

    #[tokio::test]
    async fn a_relative_path_is_made_absolute() {
        let ListenAddress::Unix(path) = Listen::unix("a.sock").resolve().await.unwrap() else {
            panic!("a path stays one")
        };
        assert!(path.is_absolute() && path.ends_with("a.sock"));
    }
}
