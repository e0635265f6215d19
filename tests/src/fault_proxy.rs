//! A network that fails, between a client and a broker on loopback: it passes bytes, holds them, lets them vanish, trickles, or
//! ends connections in the middle of a packet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::PATIENCE;

const CHUNK_BYTES: usize = 512;
const TRICKLE_BYTES: usize = 7;
const TRICKLE: Duration = Duration::from_millis(1);
const UNLIMITED: u64 = u64::MAX;

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They pass, a few at a time.
    Slow,
    /// They wait, both ways, and nobody is told: a black hole.
    Still,
    /// Those of the client vanish, although its system has them acknowledged: half-open.
    SwallowsRequests,
    /// Those of the broker vanish: what it acknowledges is not heard.
    SwallowsAnswers,
    /// New connections are closed at once.
    Refusing,
}

impl Weather {
    fn swallows(self) -> bool {
        matches!(self, Self::SwallowsRequests | Self::SwallowsAnswers)
    }
}

/// What it has seen since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Connections that came.
    pub connections: u64,
    /// Of them, those that were refused.
    pub refused: u64,
    /// Bytes that passed.
    pub passed: u64,
    /// Bytes that vanished.
    pub swallowed: u64,
    /// Connections that ended by a reset.
    pub resets: u64,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    weather: Weather,
    /// Goes up to end all connections.
    cuts: u64,
    /// Connections with a lower number hear and say nothing any more.
    dead_below: u64,
}

/// See above.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    /// A CONNECT of MQTT 5 is refused as a broker of 3.1.1 does.
    is_old: bool,
    orders: watch::Sender<Orders>,
    seen: watch::Sender<Seen>,
    /// How many bytes pass until a connection is reset.
    until_reset: AtomicU64,
}

impl FaultProxy {
    /// Passes everything. `is_old`: only MQTT 3.1.1 is let through.
    ///
    /// # Panics
    /// Where loopback has no port.
    pub async fn start(broker: SocketAddr, is_old: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let orders = Orders {
            weather: Weather::Fair,
            cuts: 0,
            dead_below: 0,
        };
        let shared = Arc::new(Shared {
            broker,
            is_old,
            orders: watch::Sender::new(orders),
            seen: watch::Sender::default(),
            until_reset: AtomicU64::new(UNLIMITED),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    /// Where clients find the broker.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of bytes from now on. Connections of which bytes have vanished end when none vanish any more: what is left of
    /// them is no stream.
    pub fn set(&self, weather: Weather) {
        self.shared.orders.send_modify(|it| it.weather = weather);
    }

    /// Ends all connections, as a machine does that goes.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|it| it.cuts += 1);
    }

    /// After so many bytes more one connection is reset, wherever in a packet that is.
    pub fn reset_after(&self, bytes: u64) {
        self.shared.until_reset.store(bytes, Ordering::SeqCst);
    }

    /// The connections of now hear and say nothing any more; new ones pass.
    pub fn strike_dead(&self) {
        let next = self.seen().connections;
        self.shared.orders.send_modify(|it| it.dead_below = next);
    }

    /// What it has seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits until it has seen something.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn sees(&self, what: &str, is_so: impl FnMut(&Seen) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        let waiting = timeout(PATIENCE, seen.wait_for(is_so)).await;
        assert!(waiting.is_ok(), "{what}: not in time");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.seen.borrow().connections;
        shared.seen.send_modify(|it| it.connections += 1);
        if shared.orders.borrow().weather == Weather::Refusing {
            shared.seen.send_modify(|it| it.refused += 1);
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { serve(client, number, &shared).await });
    }
}

/// Whether bytes may follow.
enum Then {
    GoesOn,
    Reset,
}

async fn serve(mut client: TcpStream, number: u64, shared: &Shared) {
    let mut orders = shared.orders.subscribe();
    let cuts = orders.borrow().cuts;
    let begin = match begin(&mut client, shared).await {
        Some(begin) => begin,
        None => return,
    };
    let Ok(mut broker) = TcpStream::connect(shared.broker).await else {
        return;
    };
    if broker.write_all(&begin).await.is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let pump = |swallows| Pump {
        shared,
        orders: shared.orders.subscribe(),
        number,
        swallows,
    };
    let (up, down) = (
        pump(Weather::SwallowsRequests).run(from_client, to_broker),
        pump(Weather::SwallowsAnswers).run(from_broker, to_client),
    );
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = orders.wait_for(|it| it.cuts > cuts) => {}
    }
}

/// The first bytes of a client, if it may come in: its CONNECT says its version.
async fn begin(client: &mut TcpStream, shared: &Shared) -> Option<Vec<u8>> {
    let mut begin = Vec::new();
    if !shared.is_old {
        return Some(begin);
    }
    let level = loop {
        let name = begin.windows(6).position(|it| it == b"\0\x04MQTT");
        if let Some(level) = name.and_then(|at| begin.get(at + 6)) {
            break *level;
        }
        if client.read_buf(&mut begin).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    if level <= 4 {
        return Some(begin);
    }
    // Unacceptable protocol level.
    let _ = client.write_all(b"\x20\x02\0\x01").await;
    let _ = client.shutdown().await;
    None
}

/// One direction of one connection.
struct Pump<'a> {
    shared: &'a Shared,
    orders: watch::Receiver<Orders>,
    number: u64,
    /// The weather in which the bytes of this direction vanish.
    swallows: Weather,
}

impl Pump<'_> {
    /// Until either side ends, or nothing sensible can follow.
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut chunk = [0; CHUNK_BYTES];
        let mut has_swallowed = false;
        loop {
            let weather = self.weather();
            if has_swallowed && !weather.swallows() {
                return;
            }
            let is_still = weather == Weather::Still;
            let read = tokio::select! {
                biased;
                _ = self.orders.changed() => continue,
                read = from.read(&mut chunk), if !is_still => read.unwrap_or(0),
            };
            let Some(bytes) = chunk.get(..read).filter(|it| !it.is_empty()) else {
                return;
            };
            // What follows a hole is no stream any more.
            if has_swallowed && !self.weather().swallows() {
                return;
            }
            if self.weather() == self.swallows {
                has_swallowed = true;
                self.see(|seen| seen.swallowed += read as u64);
                continue;
            }
            if let Then::Reset = self.pass(bytes, &mut to).await {
                self.see(|seen| seen.resets += 1);
                // Dropped without a goodbye, and with bytes unread.
                let _ = to.as_ref().set_zero_linger();
                return;
            }
        }
    }

    fn weather(&self) -> Weather {
        let orders = *self.orders.borrow();
        if self.number < orders.dead_below {
            Weather::Still
        } else {
            orders.weather
        }
    }

    async fn pass(&self, bytes: &[u8], to: &mut OwnedWriteHalf) -> Then {
        let step = if self.weather() == Weather::Slow {
            TRICKLE_BYTES
        } else {
            CHUNK_BYTES
        };
        for piece in bytes.chunks(step) {
            let left = self.shared.until_reset.load(Ordering::SeqCst);
            let n = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&piece[..n]).await.is_err() {
                return Then::GoesOn;
            }
            self.see(|seen| seen.passed += n as u64);
            if left != UNLIMITED {
                let rest = left - n as u64;
                let next = if rest == 0 { UNLIMITED } else { rest };
                self.shared.until_reset.store(next, Ordering::SeqCst);
                if rest == 0 {
                    return Then::Reset;
                }
            }
            if step == TRICKLE_BYTES {
                let _ = timeout(TRICKLE, std::future::pending::<()>()).await;
            }
        }
        Then::GoesOn
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        self.shared.seen.send_modify(change);
    }
}
