//! Strikes: opens connections at the attack's pace, sends, holds, reads and closes them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::attacks::Attack;
use super::{Blow, Door, Manner};
use crate::wait;

const WORKERS: u64 = 2;
/// Connections that each worker keeps for a while, so that what it sent is heard before it is gone.
const RECENT: usize = 32;
/// Connections that each worker keeps for good.
const HELD: usize = 500;
const TICK: Duration = Duration::from_millis(5);
const DRIP: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(250);

/// Whom the attacks are aimed at.
#[derive(Debug, Clone, Copy)]
pub struct Arena {
    /// The door of MQTT.
    pub mqtt: SocketAddr,
    /// The door of HTTP and WebSocket.
    pub http: SocketAddr,
}

/// What came of it, from the attacker's side.
#[derive(Debug, Default)]
pub struct Struck {
    connections: AtomicU64,
    unable: AtomicU64,
    bytes: AtomicU64,
}

impl Struck {
    /// Connections that were opened.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that could not be.
    #[must_use]
    pub fn unable(&self) -> u64 {
        self.unable.load(Ordering::Relaxed)
    }

    /// Bytes that were taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Arena {
    /// Attacks until `over`; then every connection of it is closed.
    pub fn strike(&self, attack: &Attack, over: &AtomicBool) -> Struck {
        let struck = Struck::default();
        thread::scope(|scope| {
            for first in 0..WORKERS {
                let struck = &struck;
                scope.spawn(move || Worker::new(*self, struck, over).attack(attack, first));
            }
        });
        struck
    }
}

struct Worker<'a> {
    arena: Arena,
    struck: &'a Struck,
    over: &'a AtomicBool,
    recent: VecDeque<TcpStream>,
    held: VecDeque<Held>,
}

struct Held {
    stream: TcpStream,
    rest: VecDeque<u8>,
    /// When the next byte of it is due: clients that do not know of each other do not speak in time with each other.
    due: Instant,
}

impl<'a> Worker<'a> {
    fn new(arena: Arena, struck: &'a Struck, over: &'a AtomicBool) -> Self {
        Self {
            arena,
            struck,
            over,
            recent: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Every other blow, from this one on.
    fn attack(mut self, attack: &Attack, first: u64) {
        let begin = Instant::now();
        let mut n = first;
        while !self.is_over() {
            let due = begin.elapsed().as_secs_f64() * f64::from(attack.per_s);
            while (n as f64) < due && !self.is_over() {
                if let Some(blow) = (attack.blow)(n) {
                    self.strike(blow);
                }
                n += WORKERS;
            }
            self.drip();
            wait::let_pass(TICK);
        }
    }

    /// A connection that is refused or ended in between is what an attacker has to expect.
    fn strike(&mut self, blow: Blow) {
        let address = match blow.door {
            Door::Mqtt => self.arena.mqtt,
            Door::Http => self.arena.http,
        };
        match open(address) {
            Ok(stream) => {
                self.struck.connections.fetch_add(1, Ordering::Relaxed);
                let _ = self.send(stream, blow);
            }
            Err(_) => {
                self.struck.unable.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn send(&mut self, mut stream: TcpStream, blow: Blow) -> io::Result<()> {
        if blow.manner == Manner::ByteByByte {
            self.hold(stream, blow.bytes.into());
            return Ok(());
        }
        self.write(&mut stream, &blow.bytes)?;
        match blow.manner {
            Manner::Stays => self.hold(stream, VecDeque::new()),
            Manner::Repeats(more) => {
                while !self.is_over() {
                    self.write(&mut stream, &more)?;
                }
            }
            Manner::AtOnce | Manner::ByteByByte => self.let_go_later(stream),
        }
        Ok(())
    }

    /// To the end, however long the other side takes, as long as the attack goes on.
    fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over() {
            match stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.struck.bytes.fetch_add(taken as u64, Ordering::Relaxed);
                    rest = &rest[taken..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hold(&mut self, stream: TcpStream, rest: VecDeque<u8>) {
        let due = Instant::now();
        self.held.push_back(Held { stream, rest, due });
        if self.held.len() > HELD {
            self.held.pop_front();
        }
    }

    fn let_go_later(&mut self, stream: TcpStream) {
        self.recent.push_back(stream);
        if self.recent.len() > RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            read_away(oldest);
        }
    }

    fn drip(&mut self) {
        let now = Instant::now();
        self.held.retain_mut(|it| it.due > now || it.drip(now));
    }
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What was answered is taken, or the end would be a reset, which throws away what was sent before.
fn read_away(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    if stream.set_nonblocking(true).is_ok() {
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

impl Held {
    /// The next byte, if there is one; whether it was taken.
    fn drip(&mut self, now: Instant) -> bool {
        self.due = now + DRIP;
        let next = self.rest.pop_front();
        next.is_none_or(|byte| self.stream.write_all(&[byte]).is_ok())
    }
}
