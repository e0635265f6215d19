//! What the driver is asked for, and how it does that: late, in any order, and with any outcome.

use std::sync::Arc;

use syncline_protocol::{RefusalName, Refused, Seq, TransientName};

use super::entering::admission;
use super::packets::string;
use super::program::Step;
use super::rig::{Duty, Kind, Rig};
use super::words::{Deed, Filter, Says, Told};
use crate::auth::Denied;
use crate::edge::ordinary::Slip;
use crate::edge::session::{
    Action, Answer, Cargo, EndReason, RenewedBy, Request, Tag, Verdict, Will,
};
use crate::sequencer::Outcome;
use crate::store::EventStore;
use crate::store::memory::MemoryStore;
use crate::store::sessions::QueueNumber;

/// An action in the words of the model.
pub(super) fn deed(action: &Action) -> Deed {
    match action {
        Action::Submit { exactly_once, .. } => Deed::Submit(*exactly_once),
        Action::Post { exactly_once, .. } => Deed::Post(*exactly_once),
        Action::Renew { by, .. } => match by {
            RenewedBy::Publish(_) => Deed::Renew,
            RenewedBy::Auth => Deed::RenewByAuth,
        },
        Action::Report(_) => Deed::Report,
        Action::Release(id) => Deed::Release(*id),
        Action::Subscribe {
            packet_id,
            requests,
        } => Deed::Subscribe(*packet_id, requests.iter().map(asked).collect()),
        Action::Unsubscribe { packet_id, filters } => {
            for (filter, is_one) in filters.iter().zip([true, false, true]) {
                assert_eq!(filter.is_some(), is_one, "{filters:?}");
            }
            Deed::Unsubscribe(*packet_id, filters.len())
        }
        Action::Received { packet_id, .. } => Deed::Received(*packet_id),
        Action::Arrived(slip) => Deed::Arrived(number(*slip)),
        Action::Acked(Tag { number, .. }) => Deed::Acked(*number),
        Action::Completed(id) => Deed::Completed(*id),
        Action::Will(Will::Event(_)) => Deed::Will(true, 0),
        Action::Will(Will::Posting(it, delay_s)) => {
            let message = &it.message;
            assert_eq!((message.qos, message.retain), (1, true), "as it was left");
            assert_eq!(
                (message.topic.as_str(), &message.payload[..]),
                ("last/words", &b"gone"[..])
            );
            Deed::Will(false, *delay_s)
        }
        other @ (Action::Authenticate(_) | Action::Open { .. }) => panic!("{other:?}"),
    }
}

fn asked(request: &Request) -> Filter {
    match request {
        Ok(wanted) => Filter::Fine(wanted.qos),
        Err(Verdict::BadFilter) => Filter::Bad,
        Err(Verdict::NotAllowed) => Filter::Denied,
        Err(other) => panic!("{other:?}"),
    }
}

fn number(slip: Slip) -> u64 {
    match slip {
        Slip::Queued(QueueNumber(number)) | Slip::Loose(number) => number,
    }
}

/// What a delivery carried, by its number.
pub(super) fn cargo(kind: u8, number: u64) -> Cargo {
    match kind {
        0 => Cargo::Ordinary(Slip::Queued(QueueNumber(number))),
        1 => Cargo::Ordinary(Slip::Loose(number)),
        _ => {
            let stream = "a".parse().map(|sync_id| syncline_protocol::StreamId {
                sync_id,
                channel: None,
            });
            Cargo::Event(Tag {
                stream: Arc::new(stream.expect("the name of a group")),
                seq: seq(),
                number,
            })
        }
    }
}

fn seq() -> Seq {
    Seq::new(5).expect("5 is a seq")
}

fn user_property(name: &str, value: &str) -> Says {
    Says::These(
        [
            &[0x26][..],
            &string(name.as_bytes()),
            &string(value.as_bytes()),
        ]
        .concat(),
    )
}

fn why(text: &str) -> Says {
    Says::These([&[0x1f][..], &string(text.as_bytes())].concat())
}

impl Rig {
    /// What comes of anybody but the client.
    pub(super) fn drives(&mut self, step: &Step) {
        match *step {
            Step::Answer { which, how } => self.answer(which, how),
            Step::Serve { which, how } => self.serve(which, how),
            Step::Deliver { shape, more } => self.deliver(shape, more),
            Step::Pass { ms } => self.pass(ms),
            Step::End(which) => self.end(which),
            Step::Review { narrow } => self.review(narrow),
            Step::Drain => {
                self.session.drain();
                self.model.drains();
            }
            _ => {}
        }
        self.turn();
    }

    pub(super) fn takes_on(&mut self, action: Action) {
        match action {
            Action::Submit { ticket, .. } => self.tickets.push((ticket, Kind::Event)),
            Action::Post { ticket, .. } => self.tickets.push((ticket, Kind::Posting)),
            Action::Renew { by, .. } => {
                if let RenewedBy::Publish(ticket) = by {
                    self.tickets.push((ticket, Kind::Token));
                }
                self.duties.push(Duty::Renew(by));
            }
            Action::Report(_) => self.duties.push(Duty::Report),
            Action::Release(id) => self.duties.push(Duty::Release(id)),
            Action::Received { packet_id, .. } => self.duties.push(Duty::Note(packet_id)),
            Action::Subscribe {
                packet_id,
                requests,
            } => {
                let filters = requests.iter().map(asked).collect();
                self.duties.push(Duty::Subscribe(packet_id, filters));
            }
            Action::Unsubscribe { packet_id, filters } => {
                let many = filters.len();
                self.duties.push(Duty::Unsubscribe(packet_id, many));
            }
            _ => {}
        }
    }

    fn answer(&mut self, which: u8, how: u8) {
        let open = self.tickets.iter().enumerate();
        let open: Vec<_> = open.filter(|(_, it)| it.1 != Kind::Token).collect();
        let Some((at, (ticket, kind))) = open.get(usize::from(which) % open.len().max(1)) else {
            return;
        };
        let (at, ticket, kind) = (*at, *ticket, *kind);
        let (answer, told) = match kind {
            Kind::Event => of_event(how),
            Kind::Posting | Kind::Token => of_posting(how),
        };
        self.tell(at, |model, place| model.answered(place, told));
        self.session.answer(ticket, answer);
    }

    /// The model hears of the open message that has this ticket.
    fn tell(&mut self, at: usize, tell: impl FnOnce(&mut super::model::Model, usize)) {
        self.tickets.remove(at);
        if self.model.ended {
            return;
        }
        // The tickets are those of the model's that are not answered, in their order.
        let open = self.model.open.iter().enumerate();
        let place = open.filter(|(_, open)| open.told.is_none()).nth(at);
        let (place, _) = place.expect("an action for what nobody said");
        tell(&mut self.model, place);
    }

    /// The driver does one of the other things that it owes.
    fn serve(&mut self, which: u8, how: u8) {
        if self.duties.is_empty() {
            return;
        }
        let duty = self.duties.remove(usize::from(which) % self.duties.len());
        let live = !self.model.ended;
        match duty {
            Duty::Release(id) => {
                self.session.released(id);
                if live {
                    self.model.released(id);
                }
            }
            Duty::Note(id) => {
                self.session.release(id);
                if live {
                    self.model.noted(id);
                }
            }
            Duty::Report => {
                self.session.reported();
                if live {
                    self.model.reported();
                }
            }
            Duty::Subscribe(id, filters) => self.grant(id, &filters, how),
            Duty::Unsubscribe(id, many) => {
                let existed: Vec<_> = (0..many).map(|n| how >> n & 1 == 0).collect();
                self.session.unsubscribed(id, &existed);
                let codes: Vec<_> = existed
                    .iter()
                    .map(|it| if *it { 0 } else { 0x11 })
                    .collect();
                if live {
                    self.model.dropped(id, &codes);
                }
            }
            Duty::Renew(by) => self.renew(by, how < 200),
        }
    }

    fn renew(&mut self, by: RenewedBy, good: bool) {
        let outcome = if good { Ok(()) } else { Err(Denied::Expired) };
        match by {
            RenewedBy::Auth if !self.model.ended => self.model.renewed(None, good),
            RenewedBy::Auth => {}
            RenewedBy::Publish(ticket) => {
                let at = self.tickets.iter().position(|it| it.0 == ticket);
                let at = at.expect("its ticket is open");
                self.tell(at, |model, place| model.renewed(Some(place), good));
            }
        }
        self.session.renewed(by, outcome);
    }

    fn grant(&mut self, id: u16, filters: &[Filter], how: u8) {
        let verdict = |(n, filter): (usize, &Filter)| match filter {
            Filter::Bad => Verdict::BadFilter,
            Filter::Denied => Verdict::NotAllowed,
            Filter::Fine(qos) => match how >> (2 * n) & 0b111 {
                0 => Verdict::TooMany,
                1 => Verdict::NotKept {
                    from: seq(),
                    to: seq(),
                },
                _ => Verdict::Granted { qos: *qos },
            },
        };
        let verdicts: Vec<_> = filters.iter().enumerate().map(verdict).collect();
        self.session.subscribed(id, &verdicts);
        let code = |verdict: &Verdict| match verdict {
            Verdict::Granted { qos } => *qos,
            _ if !self.header.v5 => 0x80,
            Verdict::BadFilter => 0x8f,
            Verdict::NotAllowed => 0x87,
            Verdict::TooMany => 0x97,
            Verdict::NotKept { .. } => 0x83,
        };
        let codes: Vec<_> = verdicts.iter().map(code).collect();
        let is_short = verdicts
            .iter()
            .any(|it| matches!(it, Verdict::NotKept { .. }));
        let says = match is_short {
            true => why("the states of seq 5 to 5 are kept"),
            false => Says::These(Vec::new()),
        };
        if !self.model.ended {
            self.model.granted(id, &codes, says);
        }
    }

    fn review(&mut self, narrow: bool) {
        if let Some(identity) = &self.identity {
            let identity = Arc::new(identity.reviewed(admission(narrow)));
            self.session.reviewed(&identity);
            self.model.reviewed(narrow);
        }
    }

    fn end(&mut self, which: u8) {
        let (reason, code, with_will) = match which % 5 {
            0 => (EndReason::TakenOver, Some(0x8e), true),
            1 => (EndReason::Revoked, Some(0x87), false),
            2 => (EndReason::StateTooLarge { bytes: 9 }, Some(0x95), true),
            3 => (EndReason::Expired, Some(0x87), false),
            _ => (EndReason::Lost, None, true),
        };
        self.session.end(reason);
        self.model.ends(code, with_will);
    }
}

fn of_event(how: u8) -> (Answer, Told) {
    let receipt = MemoryStore::new(8).durable();
    let refused = |name, code| {
        let refused = Refused::new(name, "it is full");
        let says = why(&format!("{name}: it is full"));
        (
            Answer::Event(Outcome::Refused(refused)),
            Told::Refused(code, says, true),
        )
    };
    match how {
        0..180 => (
            Answer::Event(Outcome::Saved {
                seq: seq(),
                receipt,
            }),
            Told::Acknowledged(0, user_property("seq", "5")),
        ),
        180..200 => (
            Answer::Event(Outcome::Repeat {
                seq: seq(),
                receipt,
            }),
            Told::Acknowledged(0, user_property("repeat", "5")),
        ),
        200..230 => refused(RefusalName::Overflow, 0x83),
        230..254 => refused(RefusalName::QuotaExceeded, 0x97),
        254.. => {
            let (name, code) = match how {
                254 => (TransientName::Busy, 0x89),
                _ => (TransientName::StorageFailed, 0x83),
            };
            let failed = Outcome::Failed(name, "the disk".to_owned());
            (Answer::Event(failed), Told::Failed(code))
        }
    }
}

fn of_posting(how: u8) -> (Answer, Told) {
    let silent = || Says::These(Vec::new());
    match how {
        0..120 => (
            Answer::Taken { matched: true },
            Told::Acknowledged(0, silent()),
        ),
        120..200 => (
            Answer::Taken { matched: false },
            Told::Acknowledged(0x10, silent()),
        ),
        200..254 => (
            Answer::Full("no room"),
            Told::Acknowledged(0x97, why("no room")),
        ),
        254.. => (Answer::NotKept("the disk".to_owned()), Told::Failed(0x83)),
    }
}
