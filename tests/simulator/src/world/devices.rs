//! What a device's driver does: carries out what its core says, and tells it what happens.

use syncline_client_core::{Answer, FaultKind, Input, IntentId, Outcome, Output, Refusal, Write};
use syncline_protocol::{DeviceId, DeviceSeq, Event, Intent, Seq, Snapshot, StreamId, Topic};

use super::{Happening, World};
use crate::link::{LinkId, Owner, Sent};
use crate::oracle::{Asked, Made};
use crate::watch::Came;
use crate::wire::{self, Connect, Packet, Properties, Publish};
use crate::workload;

/// DISCONNECT: another connection came with this client id.
const TAKEN_OVER: u8 = 0x8e;

/// A message, read.
pub(super) enum Seen {
    Event(Event),
    State(Snapshot),
    /// Something else, or nothing that can be read.
    Other,
}

impl World {
    pub(super) fn power_on(&mut self, n: usize) {
        if self.devices[n].is_on() {
            return;
        }
        let (now, fresh) = (self.now(), self.mint());
        let outputs = self.devices[n].start(now, fresh);
        self.carry_out(n, outputs);
    }

    pub(super) fn power_off(&mut self, n: usize) {
        if let Some(link) = self.devices[n].link {
            if let Some(it) = self.links.get_mut(&link) {
                it.abandoned = true;
            }
            let after = self.dice.below(30_000);
            self.agenda.after(after, Happening::ServerNotices(link));
        }
        self.devices[n].stop();
    }

    pub(super) fn go_online(&mut self, n: usize) {
        self.devices[n].offline = false;
        self.input(n, Input::SetOnline(true));
    }

    pub(super) fn go_offline(&mut self, n: usize) {
        self.devices[n].offline = true;
        self.input(n, Input::SetOnline(false));
    }

    pub(super) fn alarm(&mut self, n: usize) {
        let now = self.now();
        if self.devices[n].alarm.is_none_or(|at| at > now) {
            return;
        }
        self.devices[n].alarm = None;
        self.input(n, Input::Timeout);
    }

    pub(super) fn written(&mut self, n: usize) {
        if let Some(input) = self.devices[n].finish_write() {
            self.input(n, input);
        }
    }

    pub(super) fn publish(&mut self, n: usize) {
        self.said += 1;
        let said = self.said;
        let (event_type, data) = workload::act(&mut self.dice, said);
        let now = self.now();
        self.trace.line(now, || {
            format!("device {n}: {event_type} {}", data.to_json())
        });
        match self.devices[n].publish(now, event_type, data) {
            None => {}
            Some(Err(rejected)) => self.oracle.fail(format!("device {n}: {rejected}")),
            Some(Ok((id, outputs))) => {
                let device = &mut self.devices[n];
                device.said.insert(id, said);
                let fate = self.oracle.intent(said);
                fate.stream = Some(device.stream.clone());
                fate.author = Some(n);
                self.carry_out(n, outputs);
            }
        }
    }

    pub(super) fn input(&mut self, n: usize, input: Input) {
        let (now, random) = (self.now(), self.random());
        let outputs = self.devices[n].handle(now, random, input);
        self.carry_out(n, outputs);
    }

    fn carry_out(&mut self, n: usize, outputs: Vec<Output>) {
        let mut mints = false;
        for output in outputs {
            match output {
                Output::MintDevice => mints = true,
                Output::Disconnect => self.hang_up(n),
                Output::Connect(device) => self.dial(n, device),
                Output::Subscribe(filter) => self.subscribe(n, &filter),
                Output::Send { id, topic, payload } => self.send(n, id, &topic, &payload),
                Output::Write(write) => {
                    self.made(&write);
                    let delay = 1 + self.dice.below(self.devices[n].write_ms);
                    self.devices[n].begin_write(*write);
                    self.agenda.after(delay, Happening::Written(n));
                }
                other => self.hear(n, other),
            }
        }
        let now = self.now();
        if let Some(at) = self.devices[n].next_alarm(now) {
            self.agenda.at(at, Happening::Alarm(n));
        }
        if mints {
            self.oracle.tally.count("FORK-2 a device took another UUID");
            let device = self.mint();
            self.input(n, Input::NewDevice(device));
        }
    }

    /// Notes how intents are made.
    fn made(&mut self, write: &Write) {
        for row in &write.intents {
            let Intent {
                device,
                device_seq,
                base_seq,
                epoch,
                ..
            } = row.intent;
            let (Some(said), Some(place)) = (
                workload::said(&row.intent.event_data),
                device.zip(device_seq),
            ) else {
                continue;
            };
            let made = Made {
                place,
                epoch,
                base_seq: base_seq.unwrap_or_default(),
            };
            self.oracle.intent(said).made.get_or_insert(made);
        }
    }

    /// What the app is told.
    fn hear(&mut self, n: usize, output: Output) {
        match output {
            Output::Stored(id) => {
                if let Some(fate) = self.fate(n, id) {
                    fate.stored = true;
                }
            }
            Output::Receipt {
                id,
                outcome: Outcome::Saved(_),
            } => {
                if let Some(fate) = self.fate(n, id) {
                    fate.saved = true;
                }
            }
            Output::Receipt {
                id,
                outcome: Outcome::Superseded(_),
            } => {
                self.oracle.tally.count("OUTBOX-10 superseded");
                if let Some(fate) = self.fate(n, id) {
                    fate.superseded = true;
                }
            }
            Output::SetAside {
                intent, refusal, ..
            } => self.set_aside(n, &intent, refusal),
            Output::Fault { kind, detail } => self.fault(n, kind, &detail),
            Output::Event { .. } => self.oracle.tally.count("REPLICA-3 events applied"),
            _ => {}
        }
    }

    fn fate(&mut self, n: usize, id: IntentId) -> Option<&mut crate::oracle::Fate> {
        let said = *self.devices[n].said.get(&id)?;
        Some(self.oracle.intent(said))
    }

    fn set_aside(&mut self, n: usize, intent: &Intent, refusal: Refusal) {
        let Refusal { name, reason } = refusal;
        self.oracle.tally.count(format!("set aside: {name}"));
        if !matches!(name.as_str(), "overtaken" | "expired") {
            self.oracle.fail(format!(
                "device {n}: an intent was set aside: {name}: {reason}"
            ));
        }
        if let Some(said) = workload::said(&intent.event_data) {
            self.oracle.intent(said).set_aside = Some(name);
        }
    }

    /// A core only finds fault after the disk was rolled back: two histories have one name then, for a while.
    fn fault(&mut self, n: usize, kind: FaultKind, detail: &str) {
        let rolled_back = self.oracle.rollbacks(&self.devices[n].stream) > 0;
        self.oracle.tally.count(format!("REPLICA-2 fault {kind}"));
        let explained = matches!(kind, FaultKind::Digest | FaultKind::Delta | FaultKind::Gap);
        if !(rolled_back && explained) {
            self.oracle
                .fail(format!("device {n} finds fault: {kind}: {detail}"));
        }
    }

    fn dial(&mut self, n: usize, device: DeviceId) {
        let connect = Connect {
            client_id: device.to_string(),
            device: Some(device.to_string()),
            clean_start: true,
            session_expiry_s: 0,
            receive_maximum: [1, 4, 64][self.dice.below(3) as usize],
            maximum_packet_size: self.devices[n].maximum_packet_size,
        };
        let link = self.open_link(Owner::Device(n), &connect);
        let now = self.now();
        self.trace
            .line(now, || format!("device {n} is {device} on link {link}"));
        self.devices[n].link = Some(link);
    }

    fn hang_up(&mut self, n: usize) {
        if let Some(link) = self.devices[n].link.take() {
            self.client_closes(link);
        }
    }

    fn subscribe(&mut self, n: usize, filter: &str) {
        let Some(id) = self.devices[n].link else {
            return;
        };
        let owed = self.oracle.acknowledged(&self.devices[n].stream);
        let now = self.now();
        self.trace
            .line(now, || format!("device {n} subscribes {filter}"));
        if let Some(link) = self.links.get_mut(&id) {
            let packet = link.next_packet_id();
            link.asked.extend(Asked::by(filter, owed));
            self.send_up(id, wire::subscribe(packet, filter));
        }
    }

    fn send(&mut self, n: usize, intent: IntentId, topic: &str, payload: &[u8]) {
        let Some(id) = self.devices[n].link else {
            return;
        };
        let sent = Intent::decode(payload).ok();
        let place = sent
            .as_ref()
            .and_then(|it| Some((it.device?, it.device_seq?)));
        let stream = self.devices[n].stream.clone();
        sent.iter().for_each(|it| self.oracle.sent(&stream, it));
        if place.is_some_and(|place| self.devices[n].overtaken.contains(&place)) {
            self.oracle.fail(format!(
                "OUTBOX-12: device {n} sends {place:?} again, which the horizon overtook"
            ));
        }
        let rollbacks = self.oracle.rollbacks(&self.devices[n].stream);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let packet = link.next_packet_id();
        let sent = Sent {
            intent,
            place,
            rollbacks,
        };
        link.sent.insert(packet, sent);
        self.send_up(id, wire::publish(packet, topic, payload));
    }

    pub(super) fn device_loses(&mut self, n: usize, id: LinkId, taken_over: bool) {
        if self.devices[n].link == Some(id) {
            self.devices[n].link = None;
            let reason = "the connection is gone".to_owned();
            self.input(n, Input::Disconnected { reason, taken_over });
        }
    }

    pub(super) fn device_receives(&mut self, n: usize, id: LinkId, packets: Vec<Packet>) {
        for packet in packets {
            if self.devices[n].link != Some(id) {
                return;
            }
            match packet {
                Packet::ConnAck {
                    code: 0,
                    properties,
                    ..
                } => self.connected(n, &properties),
                Packet::Publish(publish) => self.message(n, id, publish),
                Packet::PubAck {
                    id: packet,
                    code,
                    properties,
                } => self.answered(n, id, packet, code, &properties),
                Packet::SubAck { codes, .. } if codes.iter().all(|code| *code < 0x80) => {}
                Packet::SubAck { codes, .. } => {
                    self.oracle.fail(format!("device {n}: SUBACK {codes:x?}"));
                }
                Packet::Disconnect { code, .. } => {
                    self.oracle.tally.count(format!("DISCONNECT {code:#x}"));
                    if code == TAKEN_OVER {
                        self.oracle.tally.count("FORK-5 taken over");
                        self.device_loses(n, id, true);
                    }
                    return self.client_notices(id);
                }
                _ => return self.client_notices(id),
            }
        }
    }

    /// A device that nobody copied forks only if a refusal was lost on its way; and what the horizon overtook does not
    /// come again under its number.
    fn refused(&mut self, n: usize, name: &str, place: Option<(DeviceId, DeviceSeq)>) {
        // While there is a horizon a refusal can have been lost.
        let horizon = self.oracle.horizon(&self.devices[n].stream) > Seq::ZERO;
        let device = &mut self.devices[n];
        if name != "device_forked" {
            device.was_refused = true;
            device
                .overtaken
                .extend(place.filter(|_| name == "overtaken"));
        } else if !device.has_twin && !device.was_refused && !horizon {
            self.oracle
                .fail(format!("FORK-1: device {n} forks, and nobody copied it"));
        }
    }

    fn connected(&mut self, n: usize, properties: &Properties) {
        let receive_maximum = properties.number(0x21).unwrap_or(u32::from(u16::MAX));
        self.input(
            n,
            Input::Connected {
                receive_maximum: u16::try_from(receive_maximum).unwrap_or(u16::MAX),
                maximum_packet_size: properties.number(0x27),
            },
        );
    }

    fn message(&mut self, n: usize, id: LinkId, publish: Publish) {
        let Publish {
            topic,
            payload,
            id: packet,
            ..
        } = publish;
        let now = self.now();
        self.trace.line(now, || {
            format!("device {n} gets {topic}, {} bytes", payload.len())
        });
        let seen = self.see(id, &topic, &payload);
        self.oracle.check(seen.map(drop));
        if let Some(packet) = packet {
            self.send_up(id, wire::puback(packet));
        }
        self.input(n, Input::Message { topic, payload });
    }

    /// What every client's connection is watched for. Returns what came.
    pub(super) fn see(&mut self, id: LinkId, topic: &str, payload: &[u8]) -> Result<Seen, String> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(Seen::Other);
        };
        match topic.parse::<Topic>() {
            Ok(Topic::Events(_)) => {
                let event = Event::decode(payload).map_err(|error| error.to_string())?;
                link.watch.event(&event)?;
                self.oracle.shown(&event, payload);
                return Ok(Seen::Event(event));
            }
            Ok(Topic::State(stream)) => {
                let snapshot = Snapshot::decode(payload).map_err(|error| error.to_string())?;
                let came = link.watch.state(&snapshot)?;
                let opens = snapshot.mark.is_some();
                let asked = (opens && came != Came::Part).then(|| link.asked.pop_front());
                self.oracle.showed(&snapshot);
                self.count_state(&snapshot, came);
                let asked = asked.flatten().unwrap_or_default();
                self.fresh(&stream, &snapshot, asked.owed)?;
                if opens {
                    self.opened(id, asked, snapshot.clone())?;
                }
                return Ok(Seen::State(snapshot));
            }
            _ => {}
        }
        Ok(Seen::Other)
    }

    /// G6, once all parts have come.
    fn opened(&mut self, id: LinkId, asked: Asked, part: Snapshot) -> Result<(), String> {
        let (Some(link), Some(store)) = (self.links.get_mut(&id), &self.store) else {
            return Ok(());
        };
        let whole = link.opening.push(part);
        let Some(opening) = whole.map_err(|error| format!("SNAP-8: {error}"))? else {
            return Ok(());
        };
        let base = store.base(&opening.stream);
        let base = base.map_err(|error| format!("the store cannot be read: {error}"))?;
        self.oracle.is_cheapest(asked, &opening, base.removed_floor)
    }

    fn count_state(&mut self, snapshot: &Snapshot, came: Came) {
        let kind = match (came, snapshot.mark, snapshot.since) {
            (Came::Part, ..) => "SNAP-8 parts",
            (Came::Bridge, ..) => "VIEW-9 bridges",
            (Came::Whole, None, _) => "states",
            (Came::Whole, Some(_), Seq::ZERO) => "SNAP-7 full openings",
            (Came::Whole, Some(_), since) if since == snapshot.seq => "SNAP-7 empty openings",
            (Came::Whole, Some(_), _) => "SNAP-7 delta openings",
        };
        self.oracle.tally.count(kind);
    }

    /// G8: what opens a subscription knows of all that was acknowledged before it was asked for.
    fn fresh(&mut self, stream: &StreamId, snapshot: &Snapshot, owed: Seq) -> Result<(), String> {
        let rolled_back = self.oracle.rollbacks(stream) > 0;
        if snapshot.head < owed && !rolled_back {
            return Err(format!(
                "G8: {stream}: an opening at {} of {}, and {owed} was acknowledged before",
                snapshot.seq, snapshot.head
            ));
        }
        Ok(())
    }

    fn answered(&mut self, n: usize, id: LinkId, packet: u16, code: u8, properties: &Properties) {
        let Some(sent) = self
            .links
            .get_mut(&id)
            .and_then(|link| link.sent.remove(&packet))
        else {
            return self
                .oracle
                .fail(format!("device {n}: a PUBACK for nothing"));
        };
        let Some(answer) = answer(code, properties) else {
            return self
                .oracle
                .fail(format!("device {n}: a PUBACK says nothing"));
        };
        let stream = self.devices[n].stream.clone();
        let now = self.now();
        self.trace
            .line(now, || format!("device {n}: {:?}: {answer:?}", sent.place));
        match (&answer, sent.place) {
            (Answer::Saved(seq) | Answer::Repeat(seq), Some(place)) => {
                self.oracle.told_saved(&stream, place, *seq, sent.rollbacks);
                let repeat = matches!(answer, Answer::Repeat(_));
                let name = if repeat {
                    "EVENT-10 repeats"
                } else {
                    "ANSWER-1 saved"
                };
                self.oracle.tally.count(name);
            }
            (Answer::Refused(refusal), _) => {
                self.oracle
                    .tally
                    .count(format!("ANSWER-3 refused: {}", refusal.name));
                self.refused(n, &refusal.name, sent.place);
            }
            _ => {}
        }
        let id = sent.intent;
        self.input(n, Input::Acked { id, answer });
    }
}

/// ANSWER-1, ANSWER-3.
fn answer(code: u8, properties: &Properties) -> Option<Answer> {
    if code >= 0x80 {
        let text = properties.reason.as_deref().unwrap_or_default();
        let (name, reason) = text.split_once(": ").unwrap_or((text, ""));
        return Some(Answer::Refused(Refusal::new(name, reason)));
    }
    let place = |name: &str| properties.user(name)?.parse().ok().and_then(Seq::new);
    let saved = place("seq").map(Answer::Saved);
    saved.or_else(|| place("repeat").map(Answer::Repeat))
}
