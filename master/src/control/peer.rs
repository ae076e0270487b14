//! Who is at the other end of a control connection.

use tokio::net::UnixStream;

/// The user that connected. The kernel says so (`SO_PEERCRED`), not the client.
///
/// It is the user at the time of connect(2), and a descriptor that is passed on keeps it:
/// like an open file, the connection is a right that its owner may give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    uid: Option<u32>,
}

impl Peer {
    /// Returns who is at the other end.
    pub(crate) fn of(stream: &UnixStream) -> Self {
        let uid = stream.peer_cred().ok().map(|found| found.uid());
        Self { uid }
    }

    /// Returns whether this user may command the master: its own user, and root, who could
    /// anyway. Whoever cannot be named may not.
    pub(crate) fn is_allowed(self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == 0 || uid == own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_root_and_our_own_user_are_allowed() {
        let own = rustix::process::geteuid().as_raw();
        let (end, _other) = UnixStream::pair().unwrap();
        assert_eq!(Peer::of(&end), Peer { uid: Some(own) });
        for (uid, allowed) in [
            (Some(own), true),
            (Some(0), true),
            (Some(own + 1), false),
            (Some(u32::MAX), false),
            (None, false),
        ] {
            assert_eq!(Peer { uid }.is_allowed(), allowed, "{uid:?}");
        }
    }
}
