//! UDP: a socket that all workers share.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use maitred_protocol::binding;
use maitred_protocol::message::{BoundAddress, ListenAddress, ListenOptions};

use crate::address::look_up;
use crate::lease::{self, Lease};
use crate::link::{link, over};

/// A UDP socket; otherwise tokio's own, to which it derefs.
///
/// Under a master every worker has the same socket, and the kernel gives each datagram to
/// whichever worker reads first: there is nothing to hand over. Dropping it gives it back.
#[derive(Debug)]
pub struct UdpSocket {
    socket: tokio::net::UdpSocket,
    _lease: Option<Lease>,
}

impl Deref for UdpSocket {
    type Target = tokio::net::UdpSocket;

    fn deref(&self) -> &Self::Target {
        &self.socket
    }
}

/// How to bind a UDP socket.
#[derive(Clone, Debug)]
pub struct BindUdp {
    address: String,
    options: ListenOptions,
    exclusive: bool,
}

impl BindUdp {
    /// Names the address, such as `127.0.0.1:5000`. Port 0 lets the kernel choose.
    #[must_use]
    pub fn new(address: impl ToString) -> Self {
        Self {
            address: address.to_string(),
            options: ListenOptions::default(),
            exclusive: false,
        }
    }

    /// Sets whether an IPv6 socket refuses IPv4 datagrams.
    #[must_use]
    pub fn ipv6_only(mut self, only: bool) -> Self {
        self.options.ipv6_only = only;
        self
    }

    /// Binds the address in this process alone, even under a master.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Binds it.
    ///
    /// # Errors
    ///
    /// As [`bind_udp`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub async fn open(self) -> io::Result<UdpSocket> {
        let address = match self.address.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => look_up(&self.address).await?,
        };
        let address = ListenAddress::Udp(address);
        let (lease, socket) = match link()? {
            Some(link) if !self.exclusive => {
                let wish = lease::Wish {
                    address,
                    options: self.options,
                    data: None,
                    connections_max: None,
                };
                let (lease, socket) = lease::ask(link, wish).await?;
                debug_assert!(matches!(lease.bound, BoundAddress::Ip(_)));
                (Some(lease), socket.ok_or_else(over)?)
            }
            _ => (None, binding::open(&address, self.options, &[])?.socket),
        };
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        Ok(UdpSocket {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            _lease: lease,
        })
    }
}

/// Binds a UDP address, shared with the other workers; alone where there is no master.
///
/// # Errors
///
/// As [`listen`](crate::listen).
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time.
pub async fn bind_udp(address: impl ToString) -> io::Result<UdpSocket> {
    BindUdp::new(address).open().await
}
