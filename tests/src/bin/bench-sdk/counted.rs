//! A line to the broker that counts what goes through it, both ways: everything that the connection carries above TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syncline_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A line that carries nothing for so long has carried what there was: presence and acknowledgements, too.
const QUIET: Duration = Duration::from_millis(1_500);

pub(crate) struct Counted {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    pub(crate) async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        tokio::spawn(serve(listener, target, Arc::clone(&bytes)));
        Ok(Self { address, bytes })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// So far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns when nothing has come for a while.
    pub(crate) fn is_quiet(&self) {
        tokio::task::block_in_place(|| {
            let mut before = None;
            while before != Some(self.bytes()) {
                before = Some(self.bytes());
                wait::let_pass(QUIET);
            }
        });
    }
}

/// Ends with the runtime, or with the listener.
async fn serve(listener: TcpListener, target: SocketAddr, bytes: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(broker) = TcpStream::connect(target).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        tokio::spawn(pass(from_client, to_broker, Arc::clone(&bytes)));
        tokio::spawn(pass(from_broker, to_client, Arc::clone(&bytes)));
    }
}

/// One way, until either end closes it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        bytes.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
