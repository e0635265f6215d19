//! A broker that has too much to do: whoever is there stays, and whoever comes is told to come later.

use super::*;

use std::sync::mpsc;
use tokio::net::{TcpListener, TcpStream};

const LATE: Duration = Duration::from_secs(9);

fn bounded() -> EdgeOptions {
    EdgeOptions {
        // Half of it is nothing, and nobody is earlier: it does not end.
        load_lag_max: Duration::from_nanos(1),
        ..edge_options()
    }
}

fn overload(broker: &Broker) {
    for _ in 0..3 {
        broker.edge.shared.load.note(LATE);
    }
    assert!(broker.edge.shared.load.sheds());
}

async fn told(address: std::net::SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    let read = timeout(Duration::from_secs(20), socket.read_to_end(&mut heard));
    read.await.expect("an end in time").unwrap();
    heard
}

#[test]
fn g10_whoever_comes_to_an_overloaded_broker_is_told_and_who_is_there_stays() {
    run(async {
        let broker = Broker::with(bounded());
        let mut here = broker.client(Version::V5_0, PHONE).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = broker.edge.serve(listener.into());
        overload(&broker);
        for (version, code) in [(Version::V3_1_1, 3), (Version::V5_0, 0x89)] {
            let connect = connect(version, "late", None).to_continuous_buffer();
            let heard = told(address, &connect).await;
            assert_eq!((heard[0], heard[3]), (0x20, code));
        }
        here.save("sync/a/events", &star(None, "here")).await;
        let counted = broker.edge.shared.counters.of(Count::ConnectOverload);
        assert_eq!(counted, 2);
        listening.abort();
    });
}

#[test]
fn g10_tasks_that_hold_up_all_others_are_noticed_and_their_end_too() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let options = EdgeOptions {
        load_lag_max: Duration::from_millis(40),
        ..edge_options()
    };
    let _inside = runtime.enter();
    let broker = Broker::with(options);
    let shared = Arc::clone(&broker.edge.shared);
    let deadline = Instant::now() + Duration::from_secs(20);
    let (_open, silence) = mpsc::channel::<()>();
    let (told, sheds) = mpsc::channel();
    runtime.spawn(async move {
        while !shared.load.sheds() && Instant::now() < deadline {
            // The one thread there is waits in here for nothing.
            let _ = silence.recv_timeout(Duration::from_millis(400));
            tokio::task::yield_now().await;
        }
        told.send(shared.load.sheds()).unwrap();
    });
    assert!(sheds.recv().unwrap());
    while broker.edge.shared.load.sheds() {
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::yield_now();
    }
}
