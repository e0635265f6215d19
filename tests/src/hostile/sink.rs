//! Takes every connection and every byte, and does nothing with them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::run::Arena;

/// As many threads as a small broker has.
const THREADS: usize = 2;

/// A sink, until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Sink {
    /// On a port that the system chooses.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).enable_io().build()?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(TcpListener::bind(any))?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener));
        Ok(Self {
            address,
            _runtime: runtime,
        })
    }

    /// Both of its doors are the same one.
    #[must_use]
    pub fn arena(&self) -> Arena {
        Arena {
            mqtt: self.address,
            http: self.address,
        }
    }
}

async fn serve(listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(swallow(stream));
        }
    }
}

async fn swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 8 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}
