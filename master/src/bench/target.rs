//! Where the load goes: a URL, taken apart.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The port of a URL that names none (RFC 9110, 4.2.1).
const PORT: u16 = 80;

/// An `http://` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The URL as it was given.
    url: String,
    /// Host and port as they were given: what the `Host` header says.
    authority: String,
    /// The host without brackets: what is resolved.
    host: String,
    port: u16,
    /// What the request line asks for.
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wanted = |wrong: &str| format!("{wrong}; give one such as http://127.0.0.1:5000/");
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(wanted("TLS is not spoken here")),
            _ => return Err(wanted("a URL begins with http://")),
        };
        // It goes out as it is: a blank or a line break would end the request line early.
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wanted(
                "the URL has blanks or letters that must be %-encoded",
            ));
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = host_and_port(authority).map_err(wanted)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            url: url.to_owned(),
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }
}

fn host_and_port(authority: &str) -> Result<(&str, u16), &'static str> {
    if authority.contains('@') {
        return Err("the URL names a user, which nobody asks for here");
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        rest.split_once(']').ok_or("the URL has a [ without a ]")?
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        authority.split_at(end)
    };
    if host.is_empty() {
        return Err("the URL names no host");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        None => return Err("the URL has something between host and port"),
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("the port is not within 1..=65535")?,
    };
    Ok((host, port))
}

impl Target {
    /// Looks up the host.
    ///
    /// # Errors
    ///
    /// Those of the resolver.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(addresses)
    }

    /// Returns the URL as it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns what the `Host` header says.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns what the request line asks for.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart() {
        for (url, authority, host, port, path) in [
            ("http://localhost", "localhost", "localhost", 80, "/"),
            ("http://a:81", "a:81", "a", 81, "/"),
            ("http://a:81/b?c=d#e", "a:81", "a", 81, "/b?c=d"),
            ("http://a?c=d", "a", "a", 80, "/?c=d"),
            ("http://[::1]:82/x", "[::1]:82", "::1", 82, "/x"),
            ("http://[::1]", "[::1]", "::1", 80, "/"),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(target.authority(), authority, "{url}");
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
            assert_eq!((target.path(), target.url()), (path, url));
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (url, wrong) in [
            ("127.0.0.1:5000", "begins with http://"),
            ("ftp://a", "begins with http://"),
            ("https://a", "TLS"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://me@a", "user"),
            ("http://[::1", "without a ]"),
            ("http://[::1]80", "between"),
            ("http://a:0", "1..=65535"),
            ("http://a:65536", "1..=65535"),
            ("http://a:", "1..=65535"),
            ("http://a/ b", "%-encoded"),
            ("http://a/ö", "%-encoded"),
            ("http://a/\r\nx: y", "%-encoded"),
        ] {
            let error = url.parse::<Target>().unwrap_err();
            assert!(error.contains(wrong), "{url}: {error}");
            assert!(error.ends_with("http://127.0.0.1:5000/"), "{error}");
        }
    }

    #[test]
    fn addresses_of_both_families_resolve() {
        for (url, address) in [
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://[::1]:5000", "[::1]:5000"),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(target.resolve().unwrap(), [address.parse().unwrap()]);
        }
        let target: Target = "http://nobody.invalid".parse().unwrap();
        assert!(target.resolve().is_err());
    }
}
