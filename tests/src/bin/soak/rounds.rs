//! Short conversations that are had again and again: wills, shared subscriptions, retained messages, wildcards, QoS 0, churn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use syncline_tests::wait;
use syncline_tests::wire::{Connect, Outgoing, Version, Wire};

use crate::events::{STREAM, number};
use crate::life::{Trouble, wrong};

const PAUSE: Duration = Duration::from_millis(200);
const SHARED: usize = 30;
const MEMBERS: usize = 3;
const RETAINED: u64 = 20;

fn guest(address: SocketAddr, at: u64) -> Result<Wire, Trouble> {
    let version = Version::BOTH[at as usize % 2];
    Ok(Wire::connect(address, &Connect::new(version, ""))?)
}

/// Somebody is cut off, and the will is heard.
pub(crate) fn will(address: SocketAddr, at: u64) -> Result<(), Trouble> {
    let mut watcher = guest(address, at)?;
    watcher.subscribe("soak/wills")?;
    let text = format!("will {at}");
    let connect = Connect::new(Version::V311, &format!("soak-will-{}", at % 10));
    drop(Wire::connect(address, &connect.will("soak/wills", &text))?);
    let heard = watcher.message()?.payload;
    if heard != text.as_bytes() {
        return wrong(format!(
            "{:?} instead of {text:?}",
            String::from_utf8_lossy(&heard)
        ));
    }
    wait::let_pass(PAUSE);
    Ok(watcher.disconnect()?)
}

/// Every message comes to one member.
pub(crate) fn shared(address: SocketAddr, at: u64) -> Result<(), Trouble> {
    let (topic, mut members) = (format!("soak/shared/{}", at % 10), Vec::new());
    for _ in 0..MEMBERS {
        let mut member = guest(address, at)?;
        member.subscribe(&format!("$share/soak/{topic}"))?;
        members.push(member);
    }
    let mut publisher = guest(address, at)?;
    for number in 0..SHARED {
        publisher.publish(&topic, number.to_string())?;
    }
    let got = shared_out(&mut members)?;
    let distinct: BTreeSet<_> = got.iter().collect();
    if got.len() != SHARED || distinct.len() != SHARED {
        return wrong(format!(
            "{SHARED} were shared, {} came, {} of them different",
            got.len(),
            distinct.len()
        ));
    }
    wait::let_pass(PAUSE);
    members.into_iter().try_for_each(Wire::disconnect)?;
    Ok(publisher.disconnect()?)
}

/// What came to the members. A PINGRESP overtakes messages, so it is asked until all are there, and once more.
fn shared_out(members: &mut [Wire]) -> Result<Vec<String>, Trouble> {
    let ask = |members: &mut [Wire]| -> Result<usize, Trouble> {
        members.iter_mut().try_for_each(Wire::ping)?;
        Ok(members.iter().map(Wire::waiting).sum())
    };
    let asked = wait::poll(wait::PATIENCE, || match ask(members) {
        Ok(count) => (count >= SHARED).then_some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    asked.unwrap_or(Ok(()))?;
    ask(members)?;
    let mut got = Vec::new();
    for member in members {
        while member.waiting() > 0 {
            got.push(String::from_utf8_lossy(&member.message()?.payload).into_owned());
        }
    }
    Ok(got)
}

/// What is retained is what was acknowledged last, also after a restart.
#[derive(Default)]
pub(crate) struct Retained {
    /// By key: the last number that was acknowledged, and the last that was sent.
    keys: BTreeMap<u64, (u64, u64)>,
}

impl Retained {
    pub(crate) fn turn(&mut self, address: SocketAddr, at: u64) -> Result<(), Trouble> {
        self.look(address, at)?;
        let mut publisher = guest(address, at)?;
        for key in 0..RETAINED {
            let (_, sent) = self.keys.entry(key).or_default();
            *sent = at + 1;
            let message = Outgoing::new(&format!("soak/retained/{key}"), (at + 1).to_string());
            publisher.publish_message(&message.qos(1).retain())?;
            self.keys.insert(key, (at + 1, at + 1));
        }
        wait::let_pass(PAUSE);
        Ok(publisher.disconnect()?)
    }

    fn look(&self, address: SocketAddr, at: u64) -> Result<(), Trouble> {
        let mut watcher = guest(address, at)?;
        watcher.subscribe("soak/retained/+")?;
        let mut found = BTreeMap::new();
        // What waits on a topic is one message, so whoever has heard of every key has heard everything.
        while found.len() < self.keys.len() {
            let message = watcher.message()?;
            let number = String::from_utf8_lossy(&message.payload)
                .parse()
                .unwrap_or(0);
            found.insert(message.topic, number);
        }
        for (key, (acked, sent)) in &self.keys {
            let number = found
                .get(&format!("soak/retained/{key}"))
                .copied()
                .unwrap_or(0);
            if !(*acked..=*sent).contains(&number) {
                return wrong(format!(
                    "retained on {key}: {number}, acknowledged {acked}, sent {sent}"
                ));
            }
        }
        Ok(watcher.disconnect()?)
    }
}

/// Everybody's events by a wildcard, in order and without a hole.
pub(crate) fn wildcard(address: SocketAddr, at: u64) -> Result<(), Trouble> {
    let mut wire = guest(address, at)?;
    wire.subscribe_all(&[("$json/sync/+/events", 1), ("soak/#", 0)])?;
    let (topic, mut last) = (format!("{STREAM}/events"), None);
    for _ in 0..300 {
        let message = wire.message()?;
        if message.topic != topic {
            continue;
        }
        let seq = number(&message.json(), "seq")?;
        if last.is_some_and(|last| seq != last + 1) {
            return wrong(format!("seq {seq} after {last:?} by a wildcard"));
        }
        last = Some(seq);
    }
    Ok(wire.disconnect()?)
}

/// Messages at QoS 0 to somebody who reads come, too, and in order.
pub(crate) fn at_most_once(address: SocketAddr, at: u64) -> Result<(), Trouble> {
    let (mut watcher, mut publisher) = (guest(address, at)?, guest(address, at + 1)?);
    let topic = format!("soak/qos0/{}", at % 10);
    watcher.subscribe_all(&[(&topic, 0)])?;
    for number in 0..50 {
        publisher.send_qos0(&topic, number.to_string())?;
    }
    for number in 0..50 {
        let message = watcher.message()?;
        if message.payload != number.to_string().as_bytes() {
            return wrong(format!(
                "QoS 0: {:?} instead of {number}",
                String::from_utf8_lossy(&message.payload)
            ));
        }
    }
    wait::let_pass(PAUSE);
    publisher.disconnect()?;
    Ok(watcher.disconnect()?)
}

/// Clients that come, subscribe, unsubscribe and go; some of them just vanish.
pub(crate) fn churn(address: SocketAddr, at: u64) -> Result<(), Trouble> {
    let mut wire = guest(address, at)?;
    for filter in 0..20 {
        let filter = format!("soak/churn/{}/{filter}/+", at % 100);
        wire.subscribe(&filter)?;
        wire.unsubscribe(&filter)?;
    }
    if !at.is_multiple_of(3) {
        wire.disconnect()?;
    }
    wait::let_pass(PAUSE);
    Ok(())
}
