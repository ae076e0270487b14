//! Tells a worker's several listens on port 0 of one address apart.
//!
//! All workers run the same program, so the n-th time one of them listens on port 0 of an
//! address it means the n-th of all others, and shares their port. The number rises while
//! any of these servers lives (a closed one's number is not given again, for the others may
//! hold it still), and starts anew when none does. A fixed port needs no number: it is 0.

use std::collections::BTreeMap;

use maitred_protocol::message::ListenAddress;

#[derive(Debug, Default)]
struct Numbers {
    next: u32,
    live: u32,
}

/// The numbers in use, by address. An address without a live server has no entry.
#[derive(Debug, Default)]
pub(crate) struct Indexes(BTreeMap<ListenAddress, Numbers>);

impl Indexes {
    /// Returns the number for one more listen.
    pub(crate) fn take(&mut self, address: &ListenAddress) -> u32 {
        if !is_port_zero(address) {
            return 0;
        }
        let numbers = self.0.entry(address.clone()).or_default();
        numbers.live += 1;
        numbers.next += 1;
        numbers.next - 1
    }

    /// The server is closed.
    pub(crate) fn closed(&mut self, address: &ListenAddress) {
        let Some(numbers) = self.0.get_mut(address) else {
            return;
        };
        numbers.live -= 1;
        if numbers.live == 0 {
            self.0.remove(address);
        }
    }

    /// The listen failed. The latest number is free again: if it stayed taken, the next listen
    /// would no longer share its port with the workers where this one did not fail.
    pub(crate) fn failed(&mut self, address: &ListenAddress, index: u32) {
        if let Some(numbers) = self.0.get_mut(address)
            && numbers.next == index + 1
        {
            numbers.next = index;
        }
        self.closed(address);
    }
}

fn is_port_zero(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) | ListenAddress::Udp(address) => address.port() == 0,
        ListenAddress::TcpAny { port } => *port == 0,
        ListenAddress::Unix(_) | ListenAddress::Inherited { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ListenAddress = ListenAddress::TcpAny { port: 0 };

    #[test]
    fn numbers_rise_while_one_lives_and_start_anew_when_none_does() {
        let mut indexes = Indexes::default();
        assert_eq!((indexes.take(&ANY), indexes.take(&ANY)), (0, 1));
        indexes.closed(&ANY);
        assert_eq!(indexes.take(&ANY), 2);
        indexes.closed(&ANY);
        indexes.closed(&ANY);
        assert_eq!(indexes.take(&ANY), 0);
    }

    #[test]
    fn each_address_counts_for_itself_and_fixed_ports_do_not_count() {
        let mut indexes = Indexes::default();
        let udp = ListenAddress::Udp(([127, 0, 0, 1], 0).into());
        let fixed = ListenAddress::TcpAny { port: 80 };
        assert_eq!((indexes.take(&ANY), indexes.take(&udp)), (0, 0));
        assert_eq!((indexes.take(&fixed), indexes.take(&fixed)), (0, 0));
        indexes.closed(&fixed);
        assert_eq!(indexes.take(&ANY), 1);
    }

    #[test]
    fn a_failed_listen_frees_its_number() {
        let mut indexes = Indexes::default();
        assert_eq!((indexes.take(&ANY), indexes.take(&ANY)), (0, 1));
        indexes.failed(&ANY, 1);
        assert_eq!(indexes.take(&ANY), 1);
    }
}
