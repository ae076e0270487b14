//! Laws for all inputs.

use std::sync::Mutex;

use proptest::{collection::vec, prelude::*};

use super::{
    super::{connection, drain::Common, exchange::Shared, wire::Wire},
    *,
};

/// A request as a client means it.
#[derive(Debug, Clone)]
struct Meant {
    target: String,
    fields: Vec<String>,
    body: Vec<u8>,
    /// Sizes to cut the body into chunks with; none for a content-length.
    chunks: Vec<usize>,
}

fn any_request() -> impl Strategy<Value = Meant> {
    (
        "/[a-z0-9/?%.-]{0,30}",
        vec("[ -~]{0,40}", 0..8),
        vec(any::<u8>(), 0..200),
        vec(1_usize..80, 0..4),
    )
        .prop_map(|(target, fields, body, chunks)| Meant {
            target,
            fields,
            body,
            chunks,
        })
}

impl Meant {
    fn encode(&self, out: &mut Vec<u8>) {
        let fields: String = self
            .fields
            .iter()
            .map(|value| format!("X-Y: {value}\r\n"))
            .collect();
        out.extend(format!("POST {} HTTP/1.1\r\nHost: a\r\n{fields}", self.target).bytes());
        if self.chunks.is_empty() {
            out.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
            out.extend(&self.body);
            return;
        }
        out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        let (mut rest, mut sizes) = (&self.body[..], self.chunks.iter().cycle());
        while let Some(&size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            out.extend(format!("{:X}\r\n", chunk.len()).bytes());
            out.extend(chunk);
            out.extend(b"\r\n");
            rest = after;
        }
        out.extend(b"0\r\n\r\n");
    }
}

/// What a handler saw: target, values of `X-Y`, body.
type Seen = (String, Vec<Vec<u8>>, Vec<u8>);

/// Sends `bytes` cut at `cuts`, and returns what the handlers saw and the client heard.
fn observe(bytes: &[u8], cuts: &[usize]) -> (Vec<Seen>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let seen = Mutex::new(Vec::new());
    let heard = runtime.unwrap().block_on(async {
        let server = Server::new(|mut request: Request, response: Response| async {
            let body = request.bytes().await?;
            let values = request.headers().filter(|(name, _)| *name == "X-Y");
            let values = values.map(|(_, value)| value.to_vec()).collect();
            seen.lock()
                .unwrap()
                .push((request.target().to_owned(), values, body));
            drop(request);
            response.end("").await
        });
        with_server(server, |connector| async move {
            let mut client = connector.connect();
            let mut start = 0;
            for &cut in cuts {
                let end = bytes.len().min(start + cut);
                // The server may have refused and gone already.
                let _ = client.write_all(&bytes[start..end]).await;
                tokio::task::yield_now().await;
                start = end;
            }
            let _ = client.write_all(&bytes[start..]).await;
            let _ = client.shutdown().await;
            read_all(&mut client).await
        })
        .await
    });
    (seen.into_inner().unwrap(), heard)
}

/// Whether each answer was one; invitations to send a body do not count.
fn fates(heard: &str) -> Vec<bool> {
    let answers = statuses(heard)
        .into_iter()
        .filter(|status| *status != "100");
    answers.map(|status| status == "200").collect()
}

/// Bytes that look like HTTP often enough to get somewhere.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "Host: a\r\n", "\r\n", "\r", "\n",
            "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
            "3\r\nabc\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n", ";", " ", ":", "X: y\r\n",
            "Connection: close\r\n", "abc",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..64),
        1 => (any::<u8>(), 0_usize..40_000).prop_map(|(byte, count)| std::vec::from_elem(byte, count)),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn however_the_bytes_are_cut_the_same_requests_are_seen(
        meant in vec(any_request(), 1..6),
        cuts in vec(1_usize..60, 0..60),
    ) {
        let mut bytes = Vec::new();
        meant.iter().for_each(|request| request.encode(&mut bytes));
        let (seen, heard) = observe(&bytes, &cuts);
        let expected: Vec<Seen> = meant
            .into_iter()
            .map(|request| {
                let values = request.fields.iter().map(|value| value.trim().as_bytes().to_vec());
                (request.target, values.collect(), request.body)
            })
            .collect();
        prop_assert_eq!(seen, expected, "{}", heard);
    }

    #[test]
    fn whatever_the_bytes_they_are_cut_alike(
        bytes in nearly_http(),
        cuts in vec(1_usize..60, 0..60),
    ) {
        // Served or refused, but never one way in one piece and another way in many. Only
        // the reason may differ, where there is more than one.
        let (seen, heard) = observe(&bytes, &cuts);
        let (seen_whole, heard_whole) = observe(&bytes, &[]);
        prop_assert_eq!(seen, seen_whole);
        prop_assert_eq!(fates(&heard), fates(&heard_whole));
    }

    #[test]
    fn whatever_the_bytes_no_more_is_held_than_the_limits_allow(bytes in nearly_http()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let most = runtime.unwrap().block_on(most_held(&bytes));
        prop_assert!(most <= 32 * 1024, "held {}", most);
    }
}

/// The largest read buffer that a connection had on the way through these bytes.
async fn most_held(bytes: &[u8]) -> usize {
    sizes_held(bytes)
        .await
        .into_iter()
        .max()
        .unwrap_or_default()
}

/// The size of a connection's read buffer after each of its steps through these bytes.
async fn sizes_held(bytes: &[u8]) -> Vec<usize> {
    let common = Arc::new(Common::default());
    let (mut client, stream) = duplex(64);
    let wire = Wire::new(Box::new(stream), common.limits.write_timeout);
    let shared = Shared::new(wire, Arc::clone(&common));
    let handler = |mut request: Request, response: Response| async move {
        while request.next_chunk().await?.is_some() {}
        response.end("").await
    };
    let sending = async {
        let _ = client.write_all(bytes).await;
        // Time is paused: this lasts until the server has nothing left to do.
        let moment = std::time::Duration::from_millis(1);
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(moment, client.read_to_end(&mut heard)).await;
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut heard).await;
    };
    let mut serving = std::pin::pin!(connection::run(shared.clone(), None, &handler, common));
    let mut sending = std::pin::pin!(sending);
    let mut sizes = Vec::new();
    std::future::poll_fn(|cx| {
        let _ = sending.as_mut().poll(cx);
        let served = serving.as_mut().poll(cx);
        sizes.push(shared.lock().wire.input.size());
        served
    })
    .await;
    sizes
}

#[tokio::test(start_paused = true)]
async fn what_a_large_body_needed_is_given_back_when_the_connection_is_idle() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let sizes = sizes_held(format!("{head}{}", "x".repeat(100_000)).as_bytes()).await;
    assert_eq!(sizes.iter().max(), Some(&(32 * 1024)));
    assert_eq!(sizes.last(), Some(&(4 * 1024)));
}
