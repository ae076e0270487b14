//! What only real sockets do: resets, and listeners of the kernel's.

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::*;

#[tokio::test]
async fn a_client_in_the_middle_of_a_refused_upload_sees_the_answer_and_no_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        client.readable().await.unwrap();
        // The answer is there and the server has shut down, but this client sends before it
        // reads. To a closed socket the second of these writes would fail, by a reset.
        for _ in 0..50 {
            client.write_all(&[b'x'; 10_000]).await.unwrap();
        }
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(statuses(&without_dates(&heard)), ["413"]);
    };
    let server = Server::new(describe);
    tokio::select! {
        () = client => {}
        ended = server.serve(listener) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn clients_are_known_by_address_over_tcp_and_not_over_unix_sockets() {
    let server = Server::new(|request: Request, response: Response| async move {
        response.end(format!("{:?}", request.remote())).await
    });
    let get = b"GET / HTTP/1.0\r\n\r\n";

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(get).await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        let expected = format!("Some({:?})", client.local_addr().unwrap());
        assert!(heard.ends_with(&expected), "{heard}");
    };
    tokio::select! {
        () = client => {}
        ended = server.serve(listener) => panic!("{ended:?}"),
    }

    // A name without a file: nothing to clean up.
    let path = format!("\0maitred-http-test-{}", std::process::id());
    let listener = UnixListener::bind(&path).unwrap();
    let client = async {
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(get).await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("None"), "{heard}");
    };
    tokio::select! {
        () = client => {}
        ended = server.serve(listener) => panic!("{ended:?}"),
    }
}
