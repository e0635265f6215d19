//! What a session says to its driver, and what it is told.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Qos, RetainHandling};
use mqtt_protocol_core::mqtt::result_code::SubackReasonCode;
use syncline_protocol::{Filter, Notice, Seq, Start, StreamId, Subscription};

use super::super::identity::Identity;
use super::super::submission::Submission;
use super::answers::Ticket;
use super::packet::Entry;
use crate::acl::Grant;
use crate::auth::{Credentials, Secret};
use crate::edge::ordinary::Slip;
use crate::edge::ordinary::follow::{Follow, is_share, is_too_deep};
use crate::sequencer::Outcome;
use crate::store::sessions::Message as Ordinary;

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Somebody wants to come in with these: [`Session::authenticated`].
    Authenticate(Box<Credentials>),
    /// A client shows a fresh token: [`Session::renewed`].
    Renew { token: Secret, by: RenewedBy },
    /// The CONNECT is in order. The client id may belong to an older connection, and its session may be kept: once both are
    /// settled, [`Session::opened`] or [`Session::refused`].
    Open {
        client_id: String,
        identity: Arc<Identity>,
        opening: Opening,
    },
    /// Hand this to the sequencer; its outcome goes to [`Session::answer`].
    Submit {
        ticket: Ticket,
        submission: Submission,
        /// Its packet id at QoS 2.
        exactly_once: Option<u16>,
    },
    /// Pass this ordinary message on; what came of it goes to [`Session::answer`].
    Post {
        ticket: Ticket,
        posting: Posting,
        /// Its packet id at QoS 2.
        exactly_once: Option<u16>,
    },
    /// The client is done with a PUBLISH of its at QoS 2: forget its packet id, then [`Session::released`].
    Release(u16),
    /// Publish this on the errors topic, then call [`Session::reported`].
    Report(Box<Notice>),
    /// Begin these subscriptions.
    Subscribe {
        packet_id: u16,
        requests: Vec<Request>,
    },
    /// End the subscriptions with these base filters; `None` stands for what cannot be one.
    Unsubscribe {
        packet_id: u16,
        filters: Vec<Option<Filter>>,
    },
    /// The client acknowledged a delivery.
    Acked(Tag),
    /// The client has an ordinary message, or does not want it.
    Arrived(Slip),
    /// The client has an ordinary message at QoS 2: remember its packet id, then [`Session::release`].
    Received { packet_id: u16, slip: Slip },
    /// An exchange of ours at QoS 2 is over: forget its packet id.
    Completed(u16),
    /// The connection ended without a goodbye: submit or pass on its will.
    Will(Will),
}

/// How a client shows a fresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewedBy {
    /// By this PUBLISH.
    Publish(Ticket),
    /// By AUTH.
    Auth,
}

/// An ordinary message of a client. When it expires is counted from when it is passed on.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    pub(crate) message: Ordinary,
    pub(crate) expiry_s: Option<u32>,
}

/// What is published for a client that was lost.
#[derive(Debug)]
pub(crate) enum Will {
    Event(Submission),
    /// After a delay, or when its session ends.
    Posting(Posting, u32),
}

/// What a PUBLISH is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Of an event.
    Event(Outcome),
    /// The ordinary message was taken; whether somebody gets it.
    Taken { matched: bool },
    /// It had no room somewhere.
    Full(&'static str),
    /// The disk did not take it.
    NotKept(String),
}

/// How a client wants its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// What was kept is thrown away.
    pub(crate) clean: bool,
    /// How long it is kept once the connection is gone; 0: not at all.
    pub(crate) expiry_ms: u64,
    /// Version 5.
    pub(crate) v5: bool,
}

/// Why a session cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// There are as many as are kept.
    TooMany,
    /// The store does not answer.
    StorageFailed,
}

/// One filter of a SUBSCRIBE: what to begin, or the answer that it gets already.
pub(crate) type Request = Result<Wanted, Verdict>;

/// A subscription that a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) subscription: Subscription,
    /// 0, 1 or 2; at most 1 where only `sync/` can match.
    pub(crate) qos: u8,
    pub(crate) retained: Retained,
    /// The v5 option No Local, which has no effect on `sync/`.
    pub(crate) no_local: bool,
    /// The v5 option Retain As Published, likewise.
    pub(crate) retain_as_published: bool,
    /// The v5 Subscription Identifier.
    pub(crate) identifier: Option<u32>,
}

/// When retained messages answer a SUBSCRIBE (the v5 Retain Handling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retained {
    Always,
    IfNew,
    Never,
}

/// What a filter of a SUBSCRIBE is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted {
        qos: u8,
    },
    BadFilter,
    NotAllowed,
    TooMany,
    /// VIEW-7: only the states in between are kept.
    NotKept {
        from: Seq,
        to: Seq,
    },
}

/// A message for the client.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    /// The packet id that it has to have, if it is not all the same.
    pub(crate) packet_id: Option<u16>,
    pub(crate) retain: bool,
    /// It was sent before, over another connection.
    pub(crate) again: bool,
    pub(crate) identifiers: &'a [u32],
    /// Other v5 properties, as their bytes on the wire.
    pub(crate) properties: &'a [u8],
    /// In how many seconds it expires.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) cargo: Option<Cargo>,
}

/// What a delivery carries, so that its acknowledgement can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cargo {
    Event(Tag),
    Ordinary(Slip),
}

/// What a delivery carried, so that its acknowledgement can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) stream: Arc<StreamId>,
    pub(crate) seq: Seq,
    /// Which copy of it, among all messages of the connection.
    pub(crate) number: u64,
}

/// What one filter of a SUBSCRIBE asks for.
pub(super) fn wanted(entry: &Entry, identifier: Option<u32>, grant: &Grant) -> Request {
    if is_too_deep(&entry.filter) {
        return Err(Verdict::BadFilter);
    }
    let subscription = base(&entry.filter)?;
    let follow = Follow::of(&subscription.filter);
    let exact = follow.as_ref().filter(|it| !it.filter.has_wildcard());
    if exact.is_some_and(|it| !grant.reads_topic(it.filter.as_str())) {
        return Err(Verdict::NotAllowed);
    }
    let retained = match entry.retained {
        RetainHandling::SendRetained => Retained::Always,
        RetainHandling::SendRetainedIfNotExists => Retained::IfNew,
        RetainHandling::DoNotSendRetained => Retained::Never,
    };
    let highest = if follow.is_some() { 2 } else { 1 };
    Ok(Wanted {
        subscription,
        qos: qos_number(entry.qos).min(highest),
        retained,
        no_local: entry.no_local,
        retain_as_published: entry.retain_as_published,
        identifier,
    })
}

/// What a filter of a SUBSCRIBE or UNSUBSCRIBE names. A share is served on ordinary topics alone (VIEW-8).
pub(super) fn base(text: &str) -> Result<Subscription, Verdict> {
    if !is_share(text) {
        return text.parse().map_err(|_| Verdict::BadFilter);
    }
    let filter: Filter = text.parse().map_err(|_| Verdict::BadFilter)?;
    Follow::of(&filter).ok_or(Verdict::BadFilter)?;
    Ok(Subscription {
        json: false,
        start: Start::Now,
        filter,
    })
}

/// As it is stored and counted with.
pub(super) fn qos_number(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}

/// How a verdict is written.
pub(super) fn suback_code(verdict: Verdict) -> SubackReasonCode {
    match verdict {
        Verdict::Granted { qos: 0 } => SubackReasonCode::GrantedQos0,
        Verdict::Granted { qos: 1 } => SubackReasonCode::GrantedQos1,
        Verdict::Granted { .. } => SubackReasonCode::GrantedQos2,
        Verdict::BadFilter => SubackReasonCode::TopicFilterInvalid,
        Verdict::NotAllowed => SubackReasonCode::NotAuthorized,
        Verdict::TooMany => SubackReasonCode::QuotaExceeded,
        Verdict::NotKept { .. } => SubackReasonCode::ImplementationSpecificError,
    }
}

/// What a client is told about its verdicts, where a code does not say it.
pub(super) fn suback_reason(verdicts: &[Verdict]) -> Option<String> {
    verdicts.iter().find_map(|verdict| match verdict {
        Verdict::NotKept { from, to } => Some(format!("the states of seq {from} to {to} are kept")),
        _ => None,
    })
}
