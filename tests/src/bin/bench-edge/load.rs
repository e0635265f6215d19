//! What is done to each broker, by the same code. A load answers with how much was done a second.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Outgoing, Packet, Version, Wire};

/// Connections that work at the same time, each on a thread.
const WORKERS: usize = 4;
/// What each has in flight. Mosquitto takes up to 20.
const WINDOW: usize = 16;
const PAYLOAD: [u8; 64] = [b'x'; 64];
const CONNECTS: usize = 1_000;
const FILTERS_EACH: usize = 240;
/// Fewer than may wait for one subscriber in memory, so that none is lost to a slow one.
const FANNED_OUT: usize = 900;

pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) round: u32,
    pub(crate) messages: usize,
}

pub(crate) struct Scenario {
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Load) -> io::Result<f64>,
}

pub(crate) const SCENARIOS: [Scenario; 8] = [
    scenario("connect", connects),
    scenario("publish QoS 0", |it| publishes(it, 0, it.messages * 2)),
    scenario("publish QoS 1", |it| publishes(it, 1, it.messages)),
    scenario("publish QoS 2", |it| publishes(it, 2, it.messages / 2)),
    scenario("deliver QoS 1, 1 to 1", |it| fan_out(it, 1, 40)),
    scenario("deliver QoS 1, 1 to 50", |it| fan_out(it, 50, 4)),
    scenario("sync/ events, to delivery", events),
    scenario("subscribe", subscribes),
];

const fn scenario(title: &'static str, run: fn(&Load) -> io::Result<f64>) -> Scenario {
    Scenario { title, run }
}

impl Load {
    /// A client id is never used twice at the same time. rumqttd refuses clients without keep-alive.
    fn wire(&self, name: &str) -> io::Result<Wire> {
        let id = format!("{name}-{}", self.round);
        let connect = Connect::new(Version::V311, &id).keep_alive(600);
        Wire::connect(self.address, &connect)
    }
}

fn connects(load: &Load) -> io::Result<f64> {
    let begin = Instant::now();
    side_by_side(|worker| {
        for at in 0..CONNECTS / WORKERS {
            load.wire(&format!("connect-{worker}-{at}"))?.disconnect()?;
        }
        Ok(())
    })?;
    Ok(rate(CONNECTS, begin))
}

fn subscribes(load: &Load) -> io::Result<f64> {
    let begin = Instant::now();
    side_by_side(|worker| {
        let mut wire = load.wire(&format!("subscribe-{worker}"))?;
        let filter = |at| format!("subscribe/{}/{worker}/{at}", load.round);
        let filters: Vec<String> = (0..FILTERS_EACH).map(filter).collect();
        for some in filters.chunks(WINDOW) {
            wire.send_subscribes(some)?;
            for _ in some {
                expect(&wire.receive()?, |it| matches!(it, Packet::SubAck { .. }))?;
            }
        }
        wire.disconnect()
    })?;
    Ok(rate(WORKERS * FILTERS_EACH, begin))
}

/// To topics that nobody follows: what it costs to take a message.
fn publishes(load: &Load, qos: u8, messages: usize) -> io::Result<f64> {
    let begin = Instant::now();
    side_by_side(|worker| {
        let mut wire = load.wire(&format!("publish-{qos}-{worker}"))?;
        let message = Outgoing::new(&format!("publish/{worker}"), PAYLOAD).qos(qos);
        publish(&mut wire, &message, qos, messages / WORKERS)?;
        wire.disconnect()
    })?;
    Ok(rate(messages, begin))
}

/// In bursts, each of which every subscriber has read to its end before the next one.
fn fan_out(load: &Load, subscribers: usize, bursts: usize) -> io::Result<f64> {
    let topic = format!("fan-{subscribers}/{}", load.round);
    let names = (0..subscribers).map(|at| format!("fan-{at}"));
    let mut subscribers = subscribed(load, names, &topic)?;
    let mut wire = load.wire("fan-out")?;
    let message = Outgoing::new(&topic, PAYLOAD).qos(1);
    let begin = Instant::now();
    for _ in 0..bursts {
        thread::scope(|scope| {
            let subscribers = subscribers.iter_mut();
            let reading: Vec<_> = subscribers
                .map(|wire| scope.spawn(move || read(wire, FANNED_OUT)))
                .collect();
            publish(&mut wire, &message, 1, FANNED_OUT)?;
            reading.into_iter().try_for_each(joined)
        })?;
    }
    let rate = rate(bursts * FANNED_OUT * subscribers.len(), begin);
    subscribers.into_iter().try_for_each(Wire::disconnect)?;
    wire.disconnect()?;
    Ok(rate)
}

/// Acknowledged to their publishers and delivered to a subscriber.
fn events(load: &Load) -> io::Result<f64> {
    let topic = format!("sync/bench-{}/events", load.round);
    let payload = Star::album("album-000001").json();
    let mut subscriber = subscribed(load, ["events".to_owned()], &topic)?;
    let each = load.messages / WORKERS;
    let begin = Instant::now();
    thread::scope(|scope| {
        let subscriber = subscriber.iter_mut();
        let reading: Vec<_> = subscriber
            .map(|wire| scope.spawn(move || read(wire, each * WORKERS)))
            .collect();
        side_by_side(|worker| {
            let mut wire = load.wire(&format!("event-{worker}"))?;
            publish(&mut wire, &Outgoing::new(&topic, &payload).qos(1), 1, each)?;
            wire.disconnect()
        })?;
        reading.into_iter().try_for_each(joined)
    })?;
    Ok(rate(each * WORKERS, begin))
}

fn subscribed(
    load: &Load,
    names: impl IntoIterator<Item = String>,
    topic: &str,
) -> io::Result<Vec<Wire>> {
    let subscribe = |name: String| {
        let mut wire = load.wire(&name)?;
        wire.subscribe(topic)?;
        Ok(wire)
    };
    names.into_iter().map(subscribe).collect()
}

/// Takes so many messages and acknowledges each.
fn read(wire: &mut Wire, count: usize) -> io::Result<()> {
    (0..count).try_for_each(|_| wire.message().map(|_| ()))
}

/// Refills the window when half of it is free; returns when everything was answered.
fn publish(wire: &mut Wire, message: &Outgoing, qos: u8, count: usize) -> io::Result<()> {
    if qos == 0 {
        for sent in (0..count).step_by(WINDOW) {
            wire.send_many(message, WINDOW.min(count - sent))?;
        }
        return wire.ping();
    }
    let (mut sent, mut done) = (0, 0);
    while done < count {
        let free = (WINDOW - (sent - done)).min(count - sent);
        if free >= WINDOW / 2 || free == count - sent {
            wire.send_many(message, free)?;
            sent += free;
        }
        done += usize::from(is_done(wire)?);
    }
    Ok(())
}

/// Hears one answer; whether it ends a message.
fn is_done(wire: &mut Wire) -> io::Result<bool> {
    match wire.receive()? {
        Packet::PubAck { .. } | Packet::PubComp { .. } => Ok(true),
        Packet::PubRec { id, .. } => wire.send_ack(0x62, id).map(|()| false),
        other => Err(io::Error::other(format!("{other:?} while publishing"))),
    }
}

fn expect(packet: &Packet, wanted: impl Fn(&Packet) -> bool) -> io::Result<()> {
    match wanted(packet) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{packet:?} was not expected"))),
    }
}

fn side_by_side(work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..WORKERS)
            .map(|at| scope.spawn(move || work(at)))
            .collect();
        workers.into_iter().try_for_each(joined)
    })
}

fn joined(handle: thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    handle
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
}

fn rate(count: usize, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}
