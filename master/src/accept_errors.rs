//! How often accepting failed, and with which error.
//!
//! Most of these failures cost nobody anything, so that there is no event for them; yet an
//! operator who sees that clients fail wants to know whether it is a shortage of descriptors,
//! a firewall's rule or a network that comes and goes.

use std::io;

use rustix::io::Errno;

/// Every error that accept(2) tells of, those of the network underneath included, but for
/// EAGAIN, which only says that nobody waits.
const NAMED: [(Errno, &str); 22] = [
    (Errno::BADF, "EBADF"),
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::INTR, "EINTR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NONET, "ENONET"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::NOTSOCK, "ENOTSOCK"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::PERM, "EPERM"),
    (Errno::PROTO, "EPROTO"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
];

/// Stands for every other error.
const OTHER: &str = "other";

/// Counts failed accepts since the master began, by error. The table is fixed: no error, be it
/// ever so strange, makes it grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptErrors {
    /// In the order of [`NAMED`].
    named: [u64; NAMED.len()],
    other: u64,
}

impl AcceptErrors {
    pub(crate) fn count(&mut self, error: &io::Error) {
        let counter = place(error).and_then(|place| self.named.get_mut(place));
        let counter = counter.unwrap_or(&mut self.other);
        *counter = counter.saturating_add(1);
    }

    /// Returns each error that has happened, by the kernel's name for it (`EMFILE`) or `other`,
    /// and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = NAMED.iter().map(|(_, name)| *name).chain([OTHER]);
        let counts = self.named.iter().copied().chain([self.other]);
        names.zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// Returns the kernel's name for an error of accept4, or `other`.
pub(crate) fn name(error: &io::Error) -> &'static str {
    let named = place(error).and_then(|place| NAMED.get(place));
    named.map_or(OTHER, |(_, name)| *name)
}

fn place(error: &io::Error) -> Option<usize> {
    let errno = Errno::from_io_error(error)?;
    NAMED.iter().position(|(named, _)| *named == errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_counted_by_its_name_and_the_strange_ones_together() {
        let mut errors = AcceptErrors::default();
        assert_eq!(errors.iter().count(), 0);
        let strange = io::Error::other("no errno at all");
        for error in [Errno::MFILE, Errno::MFILE, Errno::PERM, Errno::XDEV] {
            errors.count(&error.into());
        }
        errors.count(&strange);
        let counted: Vec<_> = errors.iter().collect();
        assert_eq!(counted, [("EMFILE", 2), ("EPERM", 1), ("other", 2)]);
        assert_eq!(name(&strange), "other");
    }

    #[test]
    fn no_error_stands_twice() {
        for (index, (errno, name)) in NAMED.iter().enumerate() {
            assert_eq!(super::name(&(*errno).into()), *name);
            assert_eq!(place(&(*errno).into()), Some(index), "{name}");
        }
    }
}
