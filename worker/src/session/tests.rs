//! One promise of a worker's session each.

use proptest::prelude::*;

use super::*;

const A: ServerId = ServerId(1);
const B: ServerId = ServerId(2);

fn session(window: u32) -> Session {
    let mut session = Session::new();
    session.welcome(window);
    session.open_server(A, None);
    session
}

fn unasked() -> usize {
    unreachable!("this answer does not depend on the open connections")
}

#[test]
fn the_window_bounds_what_is_queued_over_all_servers() {
    let mut session = session(2);
    session.open_server(B, None);
    assert_eq!(session.offer(A, true, unasked), Ok(()));
    assert_eq!(session.offer(B, true, unasked), Ok(()));
    assert_eq!(session.offer(A, true, unasked), Err(RejectReason::Full));
    session.took(B, 1);
    assert_eq!(session.offer(A, true, unasked), Ok(()));
}

#[test]
fn a_missing_descriptor_is_rejected_and_ready_is_owed() {
    let mut session = session(2);
    let answer = session.offer(A, false, unasked);
    assert_eq!(answer, Err(RejectReason::NoDescriptor));
    assert!(session.owes_ready());
    assert!(session.ready_due(|_| unasked()));
    assert!(!session.owes_ready(), "it is said once");
}

#[test]
fn a_full_server_owes_ready_until_it_has_room() {
    let mut session = Session::new();
    session.welcome(4);
    session.open_server(A, Some(3));
    assert_eq!(session.offer(A, true, || 2), Ok(()));
    assert_eq!(session.offer(A, true, || 2), Err(RejectReason::Full));
    assert!(!session.ready_due(|_| 2), "two open and one queued");
    session.took(A, 1);
    assert!(!session.ready_due(|_| 3), "the queued one is open now");
    assert!(session.ready_due(|_| 2));
}

#[test]
fn a_limit_of_none_refuses_everything_and_is_never_ready() {
    let mut session = Session::new();
    session.welcome(4);
    session.open_server(A, Some(0));
    assert_eq!(session.offer(A, true, || 0), Err(RejectReason::Full));
    assert!(!session.ready_due(|_| 0));
}

#[test]
fn a_full_server_that_is_closed_holds_nobody_up() {
    let mut session = session(4);
    session.open_server(B, Some(0));
    assert_eq!(session.offer(B, true, || 0), Err(RejectReason::Full));
    assert!(session.close_server(B));
    assert!(session.ready_due(|_| unasked()));
}

#[test]
fn a_closed_server_rejects_and_the_others_want_to_be_asked_again() {
    let mut session = session(4);
    assert_eq!(session.offer(B, true, unasked), Err(RejectReason::Draining));
    assert!(session.ready_due(|_| unasked()));
}

#[test]
fn a_draining_worker_rejects_and_never_says_ready() {
    let mut session = session(4);
    assert_eq!(
        session.offer(A, false, unasked),
        Err(RejectReason::NoDescriptor)
    );
    assert!(session.drain());
    assert!(!session.drain(), "the second is no news");
    assert_eq!(session.offer(A, true, unasked), Err(RejectReason::Draining));
    session.gave_back(A);
    assert!(!session.ready_due(|_| 0));
}

#[test]
fn the_master_s_wish_closes_without_a_word_when_the_last_connection_is_done() {
    let mut session = session(4);
    assert!(session.leave(Wish::Master));
    assert_eq!(session.next_step(|| true), None);
    assert_eq!(session.next_step(|| false), Some(Step::Close(Wish::Master)));
    assert_eq!(session.phase(), Phase::Closed);
    assert!(!session.orphan(), "its end of the channel was expected");
}

#[test]
fn the_own_wish_is_said_at_once_and_waits_for_the_ack_and_the_last_connection() {
    for ack_first in [true, false] {
        let mut session = session(4);
        assert!(session.leave(Wish::Own));
        assert!(!session.leave(Wish::Master), "one leaves once");
        assert_eq!(session.next_step(|| unreachable!()), Some(Step::SayExited));
        assert_eq!(session.next_step(|| false), None, "it is said once");
        session.parted();
        if ack_first {
            assert_eq!(session.next_step(|| true), None);
        }
        assert_eq!(session.next_step(|| false), Some(Step::Close(Wish::Own)));
        assert_eq!(session.phase(), Phase::Closed);
    }
}

#[test]
fn killing_waits_for_no_connection_and_hurries_one_that_leaves() {
    let mut session = session(4);
    assert!(session.leave(Wish::Own));
    assert!(session.leave(Wish::Kill));
    assert_eq!(session.next_step(|| unreachable!()), Some(Step::SayExited));
    session.parted();
    let step = session.next_step(|| unreachable!());
    assert_eq!(step, Some(Step::Close(Wish::Kill)));
}

#[test]
fn an_orphan_hands_out_what_it_was_given() {
    let mut session = session(4);
    assert_eq!(session.offer(A, true, unasked), Ok(()));
    assert!(session.orphan());
    assert!(session.hands_out() && !session.is_accepting());
}

#[derive(Clone, Debug)]
enum Event {
    Offer { server: u32, arrived: bool },
    Took(u32),
    Pause,
    Drain,
    Leave,
    CloseServer(u32),
}

fn any_event() -> impl Strategy<Value = Event> {
    let server = 0..3_u32;
    prop_oneof![
        8 => (server.clone(), any::<bool>())
            .prop_map(|(server, arrived)| Event::Offer { server, arrived }),
        4 => server.clone().prop_map(Event::Took),
        4 => Just(Event::Pause),
        1 => Just(Event::Drain),
        1 => Just(Event::Leave),
        1 => server.prop_map(Event::CloseServer),
    ]
}

proptest! {
    /// A model counts queue and open connections beside the session.
    #[test]
    fn no_more_than_the_window_is_queued_and_no_limit_is_passed(
        window in 1..5_u32,
        max in 0..4_usize,
        events in proptest::collection::vec(any_event(), 0..120),
    ) {
        let mut session = Session::new();
        session.welcome(window);
        let (mut queued, mut open) = ([0_usize; 3], [0_usize; 3]);
        for server in 0..3 {
            session.open_server(ServerId(server), (server == 0).then_some(max));
        }
        for event in events {
            match event {
                Event::Offer { server, arrived } => {
                    let at = server as usize;
                    let accepting = session.is_accepting();
                    match session.offer(ServerId(server), arrived, || open[at]) {
                        Ok(()) => { prop_assert!(arrived && accepting); queued[at] += 1; }
                        Err(_) => prop_assert_eq!(session.owes_ready(), accepting),
                    }
                }
                Event::Took(server) => {
                    let at = server as usize;
                    if queued[at] > 0 {
                        session.took(ServerId(server), 1);
                        (queued[at], open[at]) = (queued[at] - 1, open[at] + 1);
                    }
                }
                Event::Pause => {
                    let due = session.ready_due(|server| open[server.0 as usize]);
                    prop_assert!(!due || session.is_accepting());
                    open = [0; 3];
                }
                Event::Drain => { session.drain(); queued = [0; 3]; }
                Event::Leave => { session.leave(Wish::Own); queued = [0; 3]; }
                Event::CloseServer(server) => {
                    session.close_server(ServerId(server));
                    queued[server as usize] = 0;
                }
            }
            prop_assert!(queued.iter().sum::<usize>() <= window as usize);
            prop_assert!(open[0] + queued[0] <= max);
        }
    }
}
