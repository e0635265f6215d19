//! What a session says to its driver, and what it is told.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Qos, RetainHandling};
use mqtt_protocol_core::mqtt::result_code::SubackReasonCode;
use syncline_protocol::{Filter, Notice, Seq, StreamId, Subscription};

use super::super::identity::Identity;
use super::super::submission::Submission;
use super::answers::Ticket;
use super::packet::Entry;
use crate::auth::Credentials;

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Somebody wants to come in with these: [`Session::authenticated`].
    Authenticate(Box<Credentials>),
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
    },
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
    /// The connection ended without a goodbye: submit its will.
    Will(Submission),
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
    /// QoS 1, else 0.
    pub(crate) at_least_once: bool,
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
        at_least_once: bool,
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) at_least_once: bool,
    pub(crate) retain: bool,
    /// It was sent before, over another connection.
    pub(crate) again: bool,
    pub(crate) identifiers: &'a [u32],
    pub(crate) tag: Option<&'a Tag>,
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
pub(super) fn wanted(entry: &Entry, identifier: Option<u32>) -> Request {
    let subscription: Subscription = entry.filter.parse().map_err(|_| Verdict::BadFilter)?;
    if names_foreign_topic(&subscription.filter) {
        return Err(Verdict::NotAllowed);
    }
    let retained = match entry.retained {
        RetainHandling::SendRetained => Retained::Always,
        RetainHandling::SendRetainedIfNotExists => Retained::IfNew,
        RetainHandling::DoNotSendRetained => Retained::Never,
    };
    let at_least_once = entry.qos != Qos::AtMostOnce;
    Ok(Wanted {
        subscription,
        at_least_once,
        retained,
        no_local: entry.no_local,
        retain_as_published: entry.retain_as_published,
        identifier,
    })
}

/// TOPIC-6.
fn names_foreign_topic(filter: &Filter) -> bool {
    let first = filter.levels().next().unwrap_or_default();
    !filter.has_wildcard() && first != "sync" && !first.starts_with('$')
}

/// How a verdict is written.
pub(super) fn suback_code(verdict: Verdict) -> SubackReasonCode {
    match verdict {
        Verdict::Granted {
            at_least_once: true,
        } => SubackReasonCode::GrantedQos1,
        Verdict::Granted {
            at_least_once: false,
        } => SubackReasonCode::GrantedQos0,
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
