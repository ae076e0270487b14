//! What a server's connections count as, from their first request to their last.

use super::*;
use crate::gauges::Gauges;

#[tokio::test(start_paused = true)]
async fn a_connection_counts_as_what_it_is_doing() {
    let gauges = Gauges::leaked();
    let (go_on, turns) = mpsc::channel::<()>(1);
    let turns = Arc::new(tokio::sync::Mutex::new(turns));
    let server = Server::new(move |_request: Request, mut response: Response| {
        let turns = Arc::clone(&turns);
        async move {
            let mut turns = turns.lock().await;
            turns.recv().await;
            response.write("first ").await?;
            turns.recv().await;
            response.end("last").await
        }
    })
    .counted_by(gauges);
    let settled = async || tokio::time::sleep(Duration::from_millis(1)).await;
    with_server(server, |connector| async move {
        let mut client = connector.connect();
        settled().await;
        assert_eq!(gauges.all(), [1, 0, 0, 0]);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        settled().await;
        assert_eq!(gauges.all(), [0, 1, 0, 0]);
        go_on.send(()).await.unwrap();
        read_until(&mut client, "first \r\n").await;
        assert_eq!(gauges.all(), [0, 0, 1, 0]);
        go_on.send(()).await.unwrap();
        read_until(&mut client, "last\r\n0\r\n\r\n").await;
        settled().await;
        assert_eq!((gauges.all(), gauges.answered()), ([1, 0, 0, 0], 1));
        drop(client);
        settled().await;
        assert_eq!(gauges.all(), [0; 4]);
    })
    .await;
}
