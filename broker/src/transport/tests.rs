use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

async fn listener(proxies: &[&str], patience: Duration) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxies = proxies.iter().map(|it| it.parse().unwrap()).collect();
    Listener::from(socket)
        .behind(Some(proxies))
        .with_patience(patience)
}

/// A client that says `bytes`, and what becomes of it.
async fn arrival(
    listener: &Listener,
    bytes: &[u8],
) -> (TcpStream, Result<(Stream, Caller), NotArrived>) {
    let mut client = TcpStream::connect(listener.address().unwrap())
        .await
        .unwrap();
    client.write_all(bytes).await.unwrap();
    let arriving = listener.accept().await.unwrap();
    let arrived = tokio::time::timeout(DEADLINE, arriving.arrive()).await;
    (client, arrived.expect("an end in time"))
}

fn header(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([
        command, 0x11, 0, 12, 192, 0, 2, 7, 127, 0, 0, 1, 0, 80, 0, 81,
    ]);
    header
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_caller_is_whom_it_names_and_every_later_byte_is_the_clients() {
    let listener = listener(&["127.0.0.0/8"], DEADLINE).await;
    let said = [header(0x21), b"hello".to_vec()].concat();
    let (_client, arrived) = arrival(&listener, &said).await;
    let (mut stream, caller) = arrived.unwrap();
    assert_eq!(
        caller,
        Caller::from("192.0.2.7:80".parse::<std::net::SocketAddr>().unwrap())
    );
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_proxy_that_looks_whether_we_live_is_a_caller_itself() {
    let listener = listener(&["127.0.0.1"], DEADLINE).await;
    let (client, arrived) = arrival(&listener, &header(0x20)).await;
    let (_, caller) = arrived.unwrap();
    assert_eq!(caller.address, Some(client.local_addr().unwrap()));
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_believed_and_not_served() {
    let listener = listener(&["192.0.2.0/24"], DEADLINE).await;
    let (_client, arrived) = arrival(&listener, &header(0x21)).await;
    assert!(matches!(arrived, Err(NotArrived::Untrusted(_))));
}

#[tokio::test]
async fn g10_a_header_that_is_missing_or_never_ends_closes_the_connection() {
    let listener = listener(&["127.0.0.1"], Duration::from_millis(50)).await;
    let (_client, arrived) =
        arrival(&listener, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ws").await;
    assert!(matches!(
        arrived,
        Err(NotArrived::Proxy(ProxyError::Missing))
    ));
    let (_client, arrived) = arrival(&listener, &header(0x21)[..20]).await;
    assert!(matches!(arrived, Err(NotArrived::Late)));
}
