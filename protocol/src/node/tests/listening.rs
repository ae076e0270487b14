//! Questions and answers about listening, in the shapes that were captured.

use std::path::PathBuf;

use super::*;
use crate::message::{ListenAddress, ListenOptions, ServerQuery};

/// A question with these members, beyond those that all have.
fn query(members: &str) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","act":"queryServer",{members},"seq":1}}"#)
}

fn asked(members: &str) -> ServerQuery {
    let heard = messages(&mut online(), &query(members));
    match <[_; 1]>::try_from(heard) {
        Ok([WorkerToMaster::QueryServer(query)]) => query,
        other => panic!("{members}: {other:?}"),
    }
}

#[test]
fn each_kind_of_place_is_understood() {
    let tcp = |address: &str| ListenAddress::Tcp(address.parse().unwrap());
    let udp = |address: &str| ListenAddress::Udp(address.parse().unwrap());
    let path = ListenAddress::Unix(PathBuf::from("/srv/rel-1.sock"));
    let inherited = ListenAddress::Inherited { descriptor: 9 };
    for (members, place) in [
        (
            r#""address":null,"port":80,"addressType":4"#,
            ListenAddress::TcpAny { port: 80 },
        ),
        (
            r#""address":"127.0.0.1","port":80,"addressType":4"#,
            tcp("127.0.0.1:80"),
        ),
        (
            r#""address":"::","port":80,"addressType":6,"flags":1"#,
            tcp("[::]:80"),
        ),
        (
            r#""address":null,"port":80,"addressType":6"#,
            tcp("[::]:80"),
        ),
        (
            r#""address":"fe80::1%2","port":80,"addressType":6"#,
            tcp("[fe80::1%2]:80"),
        ),
        (
            r#""address":"/srv/rel-1.sock","port":-1,"addressType":-1"#,
            path,
        ),
        (
            r#""address":null,"port":null,"addressType":null,"fd":9"#,
            inherited.clone(),
        ),
        (
            r#""address":null,"port":null,"addressType":"udp4","fd":9"#,
            inherited,
        ),
        (
            r#""address":"127.0.0.1","port":8,"addressType":"udp4","fd":-1"#,
            udp("127.0.0.1:8"),
        ),
        (
            r#""address":null,"port":8,"addressType":"udp4","fd":-1"#,
            udp("0.0.0.0:8"),
        ),
        (
            r#""address":null,"port":8,"addressType":"udp6","fd":-1"#,
            udp("[::]:8"),
        ),
        (
            r#""address":null,"port":"5055","addressType":"udp4","fd":-1"#,
            udp("0.0.0.0:5055"),
        ),
        (
            r#""address":"127.0.0.1","port":"","addressType":"udp4","fd":-1"#,
            udp("127.0.0.1:0"),
        ),
        (
            r#""address":null,"port":null,"addressType":"udp4","fd":-1"#,
            udp("0.0.0.0:0"),
        ),
        (
            r#""address":"127.0.0.1","addressType":"udp4","fd":-1"#,
            udp("127.0.0.1:0"),
        ),
    ] {
        let query = asked(members);
        assert_eq!((query.address, query.data), (place, None), "{members}");
    }
}

#[test]
fn a_place_that_does_not_exist_is_refused_at_once() {
    let refused = r#"{"cmd":"NODE_CLUSTER","errno":-22,"ack":1,"data":null,"seq":0}"#;
    for members in [
        r#""address":"localhost","port":80,"addressType":4"#,
        r#""address":"127.0.0.1","port":65536,"addressType":4"#,
        r#""address":"127.0.0.1","port":-1,"addressType":4"#,
        r#""address":"127.0.0.1","port":80,"addressType":5"#,
        r#""address":"127.0.0.1","port":80,"addressType":null"#,
        r#""address":"rel.sock","port":-1,"addressType":-1"#,
        r#""address":null,"port":-1,"addressType":-1"#,
        r#""address":"127.0.0.1","port":"http","addressType":"udp4","fd":-1"#,
        r#""address":"127.0.0.1","port":[80],"addressType":4"#,
        r#""address":{},"port":80,"addressType":4"#,
        r#""address":"127.0.0.1","addressType":4"#,
    ] {
        let mut node = online();
        assert_eq!(answers(&mut node, &query(members)), [refused], "{members}");
    }
}

#[test]
fn options_are_understood() {
    let of = |members: &str| {
        let tcp = r#""address":"::","port":80,"addressType":6"#;
        asked(&format!("{tcp},{members}")).options
    };
    let default = ListenOptions::default();
    for unset in [r#""backlog":false"#, r#""backlog":0"#, r#""flags":4"#] {
        assert_eq!(of(unset), default, "{unset}");
    }
    assert_eq!(of(r#""backlog":511"#).backlog, Some(511));
    assert_eq!(of(r#""backlog":1e99"#).backlog, None);
    assert!(of(r#""flags":5"#).ipv6_only);
    let unix = of(r#""readableAll":true,"writableAll":true"#);
    assert!(unix.readable_all && unix.writable_all);
    let unix = of(r#""readableAll":1,"writableAll":0"#);
    assert!(unix.readable_all && !unix.writable_all);
}

#[test]
fn only_ports_of_the_kernels_choice_are_counted() {
    let index = |members: &str| asked(&format!(r#"{members},"index":2"#)).index;
    assert_eq!(index(r#""address":null,"port":0,"addressType":4"#), 2);
    assert_eq!(index(r#""address":null,"port":80,"addressType":4"#), 0);
    assert_eq!(
        index(r#""address":"::","port":0,"addressType":"udp6","fd":-1"#),
        2
    );
    assert_eq!(index(r#""address":"/a","port":-1,"addressType":-1"#), 0);
}

#[test]
fn errors_are_negative_and_the_port_is_echoed() {
    let mut node = online();
    hear(&mut node, QUERY);
    let refused = reply(0, ServerOutcome::Refused { errno: 98 });
    let line = r#"{"cmd":"NODE_CLUSTER","errno":-98,"ack":1,"data":null,"seq":0}"#;
    assert_eq!(text(&say(&mut node, &refused)), line);
    says_nothing(&mut node, &refused);

    hear(&mut node, QUERY);
    let line = text(&say(&mut node, &handed_over(1, "[::]:80")));
    let sockname = r#""sockname":{"address":"::","family":"IPv6","port":80}"#;
    assert!(line.contains(sockname), "{line}");
}

#[test]
fn a_path_that_cannot_be_is_denied_as_libuv_does() {
    for (place, errno) in [
        (r#""address":"/no/s","port":-1,"addressType":-1"#, -13),
        (r#""address":null,"port":80,"addressType":4"#, -2),
    ] {
        let mut node = online();
        hear(&mut node, &query(place));
        let refused = reply(0, ServerOutcome::Refused { errno: 2 });
        let line = text(&say(&mut node, &refused));
        assert!(line.contains(&format!(r#""errno":{errno},"#)), "{line}");
    }
}

#[test]
fn a_unix_path_is_granted_without_a_name() {
    let mut node = online();
    hear(
        &mut node,
        &query(r#""address":"/s","port":-1,"addressType":-1"#),
    );
    let outcome = ServerOutcome::HandedOver {
        server: SERVER,
        bound: BoundAddress::Unix("/s".into()),
        data: None,
    };
    let line = r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"l3","ack":1,"data":null,"seq":0}"#;
    assert_eq!(text(&say(&mut node, &reply(0, outcome))), line);
    let listening = query(r#""address":"/s","port":-1,"addressType":-1"#);
    let listening = listening.replace("queryServer", "listening");
    let heard = messages(&mut node, &listening);
    assert_eq!(heard, [WorkerToMaster::Listening { server: SERVER }]);
}

#[test]
fn the_first_workers_data_goes_to_all_and_their_own_where_there_is_none() {
    let keys = r#""address":"::","port":443,"addressType":6,"data":"own""#;
    let data_of = |line: &Line| {
        let line: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
        line["data"].clone()
    };
    let granted = |data: Option<&[u8]>| ServerOutcome::HandedOver {
        server: SERVER,
        bound: ip("[::]:443"),
        data: data.map(<[u8]>::to_vec),
    };
    for (outcome, data) in [
        (granted(Some(br#""first""#)), "first"),
        (granted(None), "own"),
        // A native worker may give anything; Node takes JSON only, on one line.
        (granted(Some(b"\xff")), "own"),
        (granted(Some(b"\n\"first\"\n")), "first"),
        (ServerOutcome::Refused { errno: 98 }, "own"),
    ] {
        let mut node = online();
        assert_eq!(asked(keys).data.unwrap(), br#""own""#);
        hear(&mut node, &query(keys));
        let line = say(&mut node, &reply(0, outcome));
        assert_eq!(data_of(&line), data);
        assert_eq!(line.bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}

#[test]
fn two_listens_on_port_0_are_told_apart() {
    let mut node = online();
    let second = QUERY.replace(r#""index":0"#, r#""index":1"#);
    hear(&mut node, QUERY);
    hear(&mut node, &second.replace(r#""seq":1"#, r#""seq":9"#));
    let granted = |server, port| ServerOutcome::HandedOver {
        server: ServerId(server),
        bound: ip(&format!("127.0.0.1:{port}")),
        data: None,
    };
    // Answered the other way round.
    let line = say(&mut node, &reply(1, granted(8, 40_002)));
    assert!(text(&line).contains(r#""ack":9"#));
    say(&mut node, &reply(0, granted(7, 40_001)));
    let listening = |query: &str, port: u16| {
        query
            .replace("queryServer", "listening")
            .replace(r#""port":0"#, &format!(r#""port":{port}"#))
    };
    let heard = messages(&mut node, &listening(QUERY, 40_001));
    let server = ServerId(7);
    assert_eq!(heard, [WorkerToMaster::Listening { server }]);
    assert_eq!(messages(&mut node, &listening(&second, 40_001)), []);
    let heard = messages(&mut node, &listening(&second, 40_002));
    let server = ServerId(8);
    assert_eq!(heard, [WorkerToMaster::Listening { server }]);
}

#[test]
fn a_key_is_never_live_twice() {
    let mut node = listening();
    hear(&mut node, QUERY);
    let line = text(&say(&mut node, &handed_over(1, "127.0.0.1:35967")));
    assert!(line.contains(r#""errno":-98"#), "{line}");
    hear(
        &mut node,
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":"l3"}"#,
    );
    hear(&mut node, QUERY);
    let line = text(&say(&mut node, &handed_over(2, "127.0.0.1:35967")));
    assert!(line.contains(r#""key":"l3""#), "{line}");
}

const UDP: &str = r#""address":"127.0.0.1","port":0,"addressType":"udp4","fd":-1,"flags":0"#;

#[test]
fn a_shared_socket_travels_with_its_reply() {
    for (question, kind) in [(query(UDP), "dgram"), (QUERY.to_owned(), "net")] {
        let mut node = online();
        hear(&mut node, &question);
        let line = say(&mut node, &shared(0, "127.0.0.1:35967"));
        assert!(line.descriptor());
        assert_eq!(line.shared(), Some(QueryId(0)));
        let expected = format!(
            r#"{{"cmd":"NODE_HANDLE","type":"{kind}.Native","msg":{{"cmd":"NODE_CLUSTER","errno":0,"key":"l3","ack":1,"data":null,"seq":0}}}}"#
        );
        assert_eq!(text(&line), expected);
        node.sent(line.carries);
        assert_eq!(node.unacked(), 1);
        assert_eq!(messages(&mut node, HANDLE_ACK), []);
        assert_eq!(node.unacked(), 0);
    }
}

#[test]
fn a_shared_socket_that_did_not_arrive_is_an_error_to_the_worker() {
    let mut node = online();
    hear(&mut node, &query(UDP));
    let line = say(&mut node, &shared(0, "127.0.0.1:4000"));
    node.sent(line.carries);
    let meaning = hear(&mut node, NOT_ARRIVED);
    assert_eq!(meaning.messages, [WorkerToMaster::Close { server: SERVER }]);
    let refused = r#"{"cmd":"NODE_CLUSTER","errno":-24,"ack":1,"data":null,"seq":1}"#;
    assert_eq!(text(&meaning.answers[0]), refused);
}
