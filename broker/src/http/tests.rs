use std::fs;
use std::path::Path;
use std::sync::Mutex;

use axum::extract::ws::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);
const READY: Readiness = Readiness {
    store: true,
    router: true,
    draining: false,
};
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A served port, with what the tests change about it.
struct Served {
    address: SocketAddr,
    readiness: Arc<Mutex<Readiness>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

fn options(pages: &Path) -> HttpOptions {
    HttpOptions {
        address: "127.0.0.1:0".parse().unwrap(),
        pages: pages.to_owned(),
        allowed_hosts: vec!["music.example".into()],
        allowed_origins: vec!["https://App.example".into()],
        connections_max: 100,
        header_timeout: Duration::from_millis(200),
        write_timeout: WRITE_TIMEOUT,
        websocket: WebSocketOptions {
            message_bytes_max: 1_000,
            read_buffer_bytes: 1_024,
            write_buffer_bytes_max: 65_536,
        },
    }
}

/// Sends back what comes, until the first message that is not binary.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(Message::Binary(bytes))) = socket.recv().await {
        if socket.send(Message::Binary(bytes)).await.is_err() {
            break;
        }
    }
}

async fn serve_with(options: HttpOptions) -> Served {
    serve_by(
        options,
        Arc::new(|_, _| Some(Entrance::free())),
        Arc::new(|_| ()),
    )
    .await
}

async fn serve_by(options: HttpOptions, enter: Enter, refused: Refused) -> Served {
    let listener = TcpListener::bind(options.address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Arc::new(Mutex::new(READY));
    let asked = Arc::clone(&readiness);
    let services = HttpServices {
        mqtt: Arc::new(|socket, _, _| Box::pin(echo(socket))),
        enter,
        refused,
        readiness: Arc::new(move || *asked.lock().unwrap()),
        schema_document: Arc::new(|| "{\"hash\":\"x\"}".to_owned()),
    };
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { drop(stopped.await) };
    let server = Server::new(&options, services).serve(listener.into(), shutdown);
    let server = tokio::spawn(server);
    Served {
        address,
        readiness,
        stop: Some(stop),
        server,
    }
}

impl Served {
    async fn start() -> Self {
        serve_with(options(Path::new("no/such/folder"))).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole answer to a GET with exactly these headers; the connection is closed after it.
    async fn get(&self, path: &str, headers: &str) -> String {
        let mut socket = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut socket).await
    }

    async fn get_plain(&self, path: &str) -> String {
        self.get(path, &format!("Host: {}\r\n", self.address)).await
    }

    /// The head of the answer to a WebSocket upgrade, and the socket.
    async fn upgrade(&self, headers: &str) -> (String, TcpStream) {
        let mut socket = self.connect().await;
        let request = format!("GET /mqtt HTTP/1.1\r\n{UPGRADE}{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut socket).await;
        (head, socket)
    }

    async fn upgrade_status(&self, headers: &str) -> u16 {
        status(&self.upgrade(headers).await.0)
    }
}

async fn read_all(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await;
    read.expect("the answer comes in time").unwrap();
    String::from_utf8(answer).unwrap()
}

async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(DEADLINE, socket.read_u8()).await;
        head.push(byte.expect("the head comes in time").unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status: {answer:?}"))
        .parse()
        .unwrap()
}

/// A short masked binary frame, as a client sends it.
fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn a_foreign_host_is_refused_whatever_it_asks() {
    let served = Served::start().await;
    for path in ["/", "/healthz", "/schema", "/mqtt", "/nothing"] {
        assert_eq!(
            status(&served.get(path, "Host: evil.example\r\n").await),
            421,
            "{path}"
        );
    }
    assert_eq!(status(&served.get("/healthz", "").await), 421);
    assert_eq!(
        status(
            &served
                .get("/healthz", "Host: localhost\r\nHost: evil.example\r\n")
                .await
        ),
        421
    );
    assert_eq!(
        served
            .upgrade_status("Host: evil.example\r\nSec-WebSocket-Protocol: mqtt\r\n")
            .await,
        421
    );
}

#[tokio::test]
async fn loopback_names_ip_addresses_and_allowed_names_are_served() {
    let served = Served::start().await;
    for host in [
        "localhost:8080",
        "127.0.0.1",
        "[::1]:8080",
        "192.168.1.7:8080",
        "MUSIC.example:8080",
    ] {
        assert_eq!(
            status(&served.get("/healthz", &format!("Host: {host}\r\n")).await),
            200,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let served = Served::start().await;
    let host = "Host: localhost:8080\r\nSec-WebSocket-Protocol: mqtt\r\n";
    assert_eq!(
        served.upgrade_status(host).await,
        101,
        "tools send no Origin"
    );
    let with = |origin: &str| format!("{host}Origin: {origin}\r\n");
    assert_eq!(
        served.upgrade_status(&with("http://localhost:8080")).await,
        101
    );
    assert_eq!(
        served.upgrade_status(&with("http://localhost:8081")).await,
        403
    );
    assert_eq!(
        served.upgrade_status(&with("http://evil.example")).await,
        403
    );
    assert_eq!(served.upgrade_status(&with("null")).await, 403);
}

#[tokio::test]
async fn only_the_subprotocol_mqtt_is_upgraded() {
    let served = Served::start().await;
    let offer = |offer: &str| format!("Host: localhost\r\n{offer}");
    let (head, _) = served
        .upgrade(&offer("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n"))
        .await;
    assert_eq!(status(&head), 101);
    assert!(head.contains("sec-websocket-protocol: mqtt\r\n"), "{head}");
    assert_eq!(
        served
            .upgrade_status(&offer("Sec-WebSocket-Protocol: mqttv3.1\r\n"))
            .await,
        400
    );
    assert_eq!(served.upgrade_status(&offer("")).await, 400);
    assert_eq!(status(&served.get_plain("/mqtt").await), 400);
}

#[tokio::test]
async fn g10_a_message_above_the_limit_ends_its_websocket() {
    let served = Served::start().await;
    let headers = "Host: localhost\r\nSec-WebSocket-Protocol: mqtt\r\n";
    let (_, mut socket) = served.upgrade(headers).await;
    socket.write_all(&client_frame(b"hello")).await.unwrap();
    let mut echoed = [0; 7];
    socket.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x82\x05hello");

    // In two frames, each of them below the limit.
    let mut frames = [client_frame(&[0; 600]), client_frame(&[0; 600])];
    frames[0][0] = 0x02;
    frames[1][0] = 0x80;
    socket.write_all(&frames.concat()).await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut rest)).await;
    // Closed, or reset because bytes of the message were still on the way.
    assert!(read.is_ok() && rest.len() < 100);
}

#[tokio::test]
async fn g10_headers_that_do_not_end_are_not_waited_for() {
    let served = Served::start().await;
    let mut socket = served.connect().await;
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    read_all(&mut socket).await;
}

#[tokio::test]
async fn g10_connections_above_the_limit_wait_until_a_websocket_ends() {
    let one = HttpOptions {
        connections_max: 1,
        ..options(Path::new("no/such/folder"))
    };
    let served = serve_with(one).await;
    let (head, socket) = served
        .upgrade("Host: localhost\r\nSec-WebSocket-Protocol: mqtt\r\n")
        .await;
    assert_eq!(status(&head), 101);
    let mut waiting = Box::pin(served.get_plain("/healthz"));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "the WebSocket has the only place");
    drop(socket);
    assert_eq!(status(&waiting.await), 200);
}

#[tokio::test]
async fn healthz_readyz_and_schema_answer() {
    let served = Served::start().await;
    assert!(served.get_plain("/healthz").await.ends_with("ok\n"));
    let ready = served.get_plain("/readyz").await;
    assert_eq!(status(&ready), 200);
    assert!(
        ready.ends_with("{\"store\":true,\"router\":true,\"draining\":false}"),
        "{ready}"
    );
    for unready in [
        Readiness {
            store: false,
            ..READY
        },
        Readiness {
            router: false,
            ..READY
        },
        Readiness {
            draining: true,
            ..READY
        },
    ] {
        *served.readiness.lock().unwrap() = unready;
        assert_eq!(
            status(&served.get_plain("/readyz").await),
            503,
            "{unready:?}"
        );
    }
    let schema = served.get_plain("/schema").await;
    assert!(
        schema.contains("content-type: application/json"),
        "{schema}"
    );
    assert!(schema.ends_with("{\"hash\":\"x\"}"), "{schema}");
}

#[tokio::test]
async fn without_the_built_page_the_root_names_the_command_that_builds_it() {
    let served = Served::start().await;
    let answer = served.get_plain("/").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("cargo demo"), "{answer}");
    assert_eq!(status(&served.get_plain("/nothing").await), 404);
}

#[tokio::test]
async fn the_built_page_is_served_with_security_headers_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("dist");
    fs::create_dir_all(pages.join("assets")).unwrap();
    fs::write(pages.join("index.html"), "<!doctype html>the page").unwrap();
    fs::write(pages.join("assets/app.js"), "the script").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let served = serve_with(options(&pages)).await;

    let page = served.get("/", "Host: localhost:8080\r\n").await;
    assert!(page.ends_with("the page"), "{page}");
    assert!(page.contains("content-type: text/html"), "{page}");
    assert!(page.contains("x-content-type-options: nosniff"), "{page}");
    assert!(
        page.contains("connect-src 'self' ws://localhost:8080 wss://localhost:8080;"),
        "{page}"
    );
    assert!(served.get_plain("/?sync=home").await.ends_with("the page"));
    assert!(
        served
            .get_plain("/assets/app.js")
            .await
            .contains("text/javascript")
    );
    for path in ["/../secret", "/%2e%2e/secret", "/assets/../../secret"] {
        let answer = served.get_plain(path).await;
        assert!(!answer.ends_with("secret"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_does_not_wait_for_websockets() {
    let patient = HttpOptions {
        header_timeout: DEADLINE,
        ..options(Path::new("no/such/folder"))
    };
    let mut served = serve_with(patient).await;
    let mut idle = served.connect().await;
    idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).as_bytes())
        .await
        .unwrap();
    read_head(&mut idle).await;
    let headers = "Host: localhost\r\nSec-WebSocket-Protocol: mqtt\r\n";
    let (_, _websocket) = served.upgrade(headers).await;

    served.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(DRAIN_DEADLINE / 2, served.server)
        .await
        .expect("at once")
        .unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// A page that no socket's buffers hold.
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn g10_who_takes_nothing_of_an_answer_loses_its_place() {
    let pages = tempfile::tempdir().unwrap();
    fs::write(pages.path().join("large.bin"), vec![0; LARGE]).unwrap();
    let one = HttpOptions {
        connections_max: 1,
        ..options(pages.path())
    };
    let served = serve_with(one).await;
    let mut stuck = served.connect().await;
    let request = format!(
        "GET /large.bin HTTP/1.1\r\nHost: {}\r\n\r\n",
        served.address
    );
    stuck.write_all(request.as_bytes()).await.unwrap();
    read_head(&mut stuck).await;
    // The only place is free again.
    let answer = tokio::time::timeout(DEADLINE, served.get_plain("/healthz")).await;
    assert!(answer.expect("in time").ends_with("ok\n"));
}

#[tokio::test]
async fn g10_a_websocket_is_read_as_slowly_as_its_client_likes() {
    let served = Served::start().await;
    let headers = "Host: localhost\r\nSec-WebSocket-Protocol: mqtt\r\n";
    let (_, mut socket) = served.upgrade(headers).await;
    // Binary, masked with zeros: what comes back is longer than all buffers, and is not read for longer than an answer may wait.
    let frame = [&[0x82, 0xfe, 0x03, 0xe4, 0, 0, 0, 0][..], &[7; 996]].concat();
    let (mut reading, mut writing) = socket.split();
    let write = async {
        for _ in 0..LARGE / frame.len() {
            let written = tokio::time::timeout(WRITE_TIMEOUT * 3, writing.write_all(&frame)).await;
            match written {
                Ok(written) => written.unwrap(),
                // The buffers of both directions are full.
                Err(_) => return,
            }
        }
        panic!("everything was taken, so nothing waited");
    };
    write.await;
    let mut echoed = vec![0; 1 << 20];
    let read = tokio::time::timeout(DEADLINE, reading.read_exact(&mut echoed)).await;
    read.expect("in time").unwrap();
}

#[tokio::test]
async fn g10_an_overloaded_broker_asks_to_come_later_and_answers_those_who_look_after_it() {
    let shed: Enter = Arc::new(|_, _| Some(Entrance::shed()));
    let counted = Arc::new(Mutex::new(Vec::new()));
    let counts = Arc::clone(&counted);
    let refused: Refused = Arc::new(move |why| counts.lock().unwrap().push(why));
    let served = serve_by(options(Path::new("no/such/folder")), shed, refused).await;
    for (path, expected) in [("/schema", 503), ("/healthz", 200), ("/readyz", 200)] {
        let answer = served.get_plain(path).await.to_lowercase();
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(answer.contains("retry-after: 5"), expected == 503);
        assert!(answer.contains("x-frame-options: sameorigin"));
    }
    let websocket = format!(
        "Host: {}\r\nSec-WebSocket-Protocol: mqtt\r\n",
        served.address
    );
    assert_eq!(
        served.upgrade_status(&websocket).await,
        101,
        "MQTT says so itself"
    );
    assert_eq!(*counted.lock().unwrap(), [HttpRefusal::Overload]);
}
