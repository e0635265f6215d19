//! The client core on what a broker says that nobody should trust.
//!
//! The bytes are steps: what happens (1), how long the rest is (2, little endian), and the rest. The driver beside them
//! keeps its contract: what is to be written is durable at once, connections stand when they are asked for, and only
//! what was sent is answered.

use std::collections::{BTreeMap, VecDeque};

use syncline_client_core::{
    Answer, Core, DeviceRow, FaultKind, Input, IntentId, OpenOptions, Output, Refusal, Row, Stored,
    Write,
};
use syncline_protocol::{DeviceId, DeviceSeq, Seq, StreamId, UnixMillis, Value};

/// What an app does at most: more than fits into an input of 4 KiB.
const STEPS_MAX: usize = 512;

/// What a core says and hears in its whole life is no more than this for each step.
const OUTPUTS_MAX: usize = 100_000;

/// Whatever a broker says, a client goes on; and what it wrote it can open.
pub fn client_core(data: &[u8]) {
    let mut driver = Driver::open();
    let mut rest = data;
    for _ in 0..STEPS_MAX {
        let Some(([kind, low, high], after)) = rest.split_first_chunk() else {
            break;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (said, after) = after.split_at(length);
        driver.step(*kind, said);
        rest = after;
    }
    driver.open_again();
}

struct Driver {
    core: Core,
    now: u64,
    sent: VecDeque<IntentId>,
    disk: Disk,
}

#[derive(Default)]
struct Disk {
    device: Option<DeviceRow>,
    intents: BTreeMap<IntentId, Row>,
    replica: Option<syncline_protocol::Snapshot>,
    schema: Option<std::sync::Arc<syncline_protocol::Schema>>,
}

impl Driver {
    fn open() -> Self {
        let now = 1_700_000_000_000;
        let options = OpenOptions {
            outbox_limit: 8,
            ..OpenOptions::new(stream(), DeviceId::from_bytes([1; 16]))
        };
        let (core, outputs) = Core::open(UnixMillis::new(now), options);
        let mut driver = Self {
            core,
            now,
            sent: VecDeque::new(),
            disk: Disk::default(),
        };
        driver.carry_out(outputs);
        driver
    }

    fn step(&mut self, kind: u8, said: &[u8]) {
        let topic = |level: &str| format!("sync/demo/{level}");
        match kind % 12 {
            0 | 1 => self.message(topic("events"), said),
            2 | 3 => self.message(topic("state"), said),
            4 => self.message("$SYS/broker/schema".to_owned(), said),
            5 => self.message(topic(&format!("errors/{}", self.core.device())), said),
            6 => self.publish(said),
            7 => self.answer(said),
            8 => self.hear(Input::Disconnected {
                reason: "gone".to_owned(),
                taken_over: !said.is_empty(),
            }),
            9 => self.hear(Input::SetOnline(said.is_empty())),
            10 => self.wait(),
            _ => self.hear(Input::Connected {
                receive_maximum: 3,
                maximum_packet_size: said.first().map(|size| u32::from(*size) * 8),
            }),
        }
    }

    fn message(&mut self, topic: String, said: &[u8]) {
        let payload = said.to_vec();
        self.hear(Input::Message { topic, payload });
    }

    /// What the app does: an event of one of the types of the music library or of the golden schema.
    fn publish(&mut self, said: &[u8]) {
        let Some((kind, rest)) = said.split_first() else {
            return;
        };
        let types = [
            "set_lww_add",
            "map_keep_add",
            "count_add",
            "list_lww_put",
            "star_album",
        ];
        let event_type = types[usize::from(*kind) % types.len()];
        let data = Value::from_msgpack(rest).unwrap_or_default();
        let event_type = event_type.parse().expect("a type");
        let now = UnixMillis::new(self.now);
        if let Ok((_, outputs)) = self.core.publish(now, event_type, data) {
            self.carry_out(outputs);
        }
    }

    fn answer(&mut self, said: &[u8]) {
        let Some(id) = self.sent.pop_front() else {
            return;
        };
        let (first, rest) = said.split_first().unwrap_or((&0, &[]));
        let seq = rest
            .iter()
            .take(7)
            .fold(0, |seq, byte| seq << 8 | u64::from(*byte));
        let seq = Seq::new(seq).unwrap_or_default();
        let answer = match first % 3 {
            0 => Answer::Saved(seq),
            1 => Answer::Repeat(seq),
            _ => Answer::Refused(Refusal::new(String::from_utf8_lossy(rest), "no")),
        };
        self.hear(Input::Acked { id, answer });
    }

    fn wait(&mut self) {
        let due = self.core.next_timeout().map_or(self.now, UnixMillis::get);
        self.now = self.now.max(due).min(1 << 52);
        self.hear(Input::Timeout);
    }

    fn hear(&mut self, input: Input) {
        let outputs = self.core.handle(UnixMillis::new(self.now), 0.5, input);
        self.carry_out(outputs);
    }

    /// Everything that is asked for is done, at once.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut waiting = VecDeque::from(outputs);
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = waiting.pop_front() else {
                return;
            };
            if let Some(input) = self.done(output) {
                let now = UnixMillis::new(self.now);
                waiting.extend(self.core.handle(now, 0.5, input));
            }
        }
        panic!("the core talks to itself");
    }

    fn done(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::MintDevice => Some(Input::NewDevice(DeviceId::from_bytes([2; 16]))),
            Output::Connect(_) => Some(Input::Connected {
                receive_maximum: 3,
                maximum_packet_size: None,
            }),
            Output::Disconnect => {
                self.sent.clear();
                None
            }
            Output::Send { id, .. } => {
                self.sent.push_back(id);
                None
            }
            Output::Write(write) => {
                let id = write.id;
                self.disk.write(*write);
                Some(Input::Persisted(id))
            }
            _ => None,
        }
    }

    /// STORE-1: with what it wrote, it comes up again, and shows what it showed.
    fn open_again(self) {
        let Some(device) = self.disk.device else {
            return;
        };
        let stored = Stored {
            device,
            intents: self.disk.intents.into_values().collect(),
            replica: self.disk.replica,
            schema: self.disk.schema,
        };
        let options = OpenOptions {
            stored: Some(stored),
            ..OpenOptions::new(stream(), DeviceId::from_bytes([1; 16]))
        };
        let (core, outputs) = Core::open(UnixMillis::new(self.now), options);
        for output in outputs {
            if let Output::Fault { kind, detail } = output {
                assert_ne!(kind, FaultKind::Storage, "{detail}");
            }
        }
        assert_eq!(core.device(), device.device);
        assert!(device.next_device_seq > DeviceSeq::FIRST || core.status().pending == 0);
    }
}

impl Disk {
    fn write(&mut self, write: Write) {
        for id in &write.delete {
            self.intents.remove(id);
        }
        self.intents
            .extend(write.intents.into_iter().map(|row| (row.id, row)));
        self.device = write.device.or(self.device);
        self.replica = write.replica.or(self.replica.take());
        self.schema = write.schema.or(self.schema.take());
    }
}

fn stream() -> StreamId {
    StreamId {
        sync_id: "demo".parse().expect("a name"),
        channel: None,
    }
}
