//! What a test worker may be told to listen on, and how it serves there.
//!
//! A wish is a kind, its options, and an address: `tcp+max=9:127.0.0.1:0`. The kinds are
//! `tcp`, `any` (a port alone), `unix`, `udp`, `inherited` (a TCP socket's number in the
//! master) and `hasty` (TCP, but a connection has one answer only, and is closed just when its
//! client asks again); the options bear the names of the library's.

use std::io;
use std::rc::Rc;

use maitred_worker::http::{Request, Response, Server};
use maitred_worker::{BindUdp, Listen, Listener, UdpSocket, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::spawn_local;

/// What was bound.
pub(crate) enum Place {
    Tcp(Listener),
    Unix(Listener<UnixStream>),
    Udp(UdpSocket),
    Hasty(Listener),
}

/// What was bound, and what is known of it.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) address: String,
    pub(crate) data: Option<String>,
}

pub(crate) async fn open(wish: &str) -> io::Result<Found> {
    let (kind, address) = wish.split_once(':').ok_or_else(|| nonsense(wish))?;
    let (kind, options) = kind.split_once('+').unwrap_or((kind, ""));
    let options = options.split('+').filter(|option| !option.is_empty());
    match kind {
        "tcp" => tcp(with(Listen::from(address), options)?).await,
        "any" => {
            let port = address.parse().map_err(|_| nonsense(wish))?;
            tcp(with(Listen::any(port), options)?).await
        }
        "inherited" => {
            let number = address.parse().map_err(|_| nonsense(wish))?;
            tcp(with(Listen::inherited(number), options)?).await
        }
        "unix" => {
            let listener = with(Listen::unix(address), options)?.open_unix().await?;
            Ok(Found {
                place: Place::Unix(listener),
                address: address.to_owned(),
                data: None,
            })
        }
        "udp" => udp(address, options).await,
        "hasty" => {
            let listener = with(Listen::from(address), options)?.open().await?;
            Ok(Found {
                address: listener.local_addr()?.to_string(),
                data: None,
                place: Place::Hasty(listener),
            })
        }
        _ => Err(nonsense(wish)),
    }
}

fn nonsense(wish: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{wish}`: what is it?"),
    )
}

fn with<'a>(listen: Listen, mut options: impl Iterator<Item = &'a str>) -> io::Result<Listen> {
    let number = |text: &str| text.parse::<u16>().map_err(|_| nonsense(text));
    options.try_fold(listen, |listen, option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        Ok(match name {
            "backlog" => listen.backlog(number(value)?.into()),
            "data" => listen.data(value.into()),
            "exclusive" => listen.exclusive(true),
            "ipv6-only" => listen.ipv6_only(true),
            "max" => listen.connections_max(number(value)?.into()),
            "readable-all" => listen.readable_all(true),
            "writable-all" => listen.writable_all(true),
            _ => return Err(nonsense(option)),
        })
    })
}

async fn tcp(listen: Listen) -> io::Result<Found> {
    let listener = listen.open().await?;
    let data = listener.data().map(String::from_utf8_lossy);
    Ok(Found {
        address: listener.local_addr()?.to_string(),
        data: data.map(Into::into),
        place: Place::Tcp(listener),
    })
}

async fn udp<'a>(address: &str, options: impl Iterator<Item = &'a str>) -> io::Result<Found> {
    let mut bind = BindUdp::new(address);
    for option in options {
        bind = match option {
            "exclusive" => bind.exclusive(true),
            "ipv6-only" => bind.ipv6_only(true),
            _ => return Err(nonsense(option)),
        };
    }
    let socket = bind.open().await?;
    Ok(Found {
        address: socket.local_addr()?.to_string(),
        data: None,
        place: Place::Udp(socket),
    })
}

pub(crate) async fn serve(place: Place, worker: Worker) -> io::Result<()> {
    let id = Rc::from(worker.id().0.to_string());
    let answer = move |_request: Request, response: Response| {
        let id: Rc<str> = Rc::clone(&id);
        async move { response.header("x-worker-id", &*id).end("here\n").await }
    };
    match place {
        Place::Tcp(listener) => Server::new(answer).serve(listener).await,
        Place::Unix(listener) => Server::new(answer).serve(listener).await,
        Place::Udp(socket) => echo(&socket, worker).await,
        Place::Hasty(listener) => close_in_haste(&listener, worker).await,
    }
}

async fn echo(socket: &UdpSocket, worker: Worker) -> io::Result<()> {
    let mut datagram = [0; 64];
    loop {
        let (len, sender) = socket.recv_from(&mut datagram).await?;
        let answer = [&datagram[..len], b" ", worker.id().0.to_string().as_bytes()].concat();
        socket.send_to(&answer, sender).await?;
    }
}

/// Plays a server whose idle timeout always ends in the worst moment: a client's second
/// request on a connection is on its way when that is closed.
async fn close_in_haste(listener: &Listener, worker: Worker) -> io::Result<()> {
    let id = worker.id().0;
    let answer = format!("HTTP/1.1 200 OK\r\nx-worker-id: {id}\r\ncontent-length: 0\r\n\r\n");
    let answer: Rc<str> = answer.into();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let answer = Rc::clone(&answer);
        spawn_local(async move {
            // The small requests of a test come whole.
            let read = stream.read(&mut [0; 1024]).await;
            if read.is_ok_and(|length| length > 0)
                && stream.write_all(answer.as_bytes()).await.is_ok()
            {
                stream.readable().await.unwrap_or_default();
            }
        });
    }
}
