//! From a PUBLISH to a submission, or to the name of the refusal.

use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::{Intent, RefusalName, Refused, StreamId, SyncId, Topic};

use super::super::identity::Identity;
use super::super::submission::Submission;
use super::action::{Posting, qos_number};
use super::answers::About;
use super::packet::Publish;
use crate::edge::ordinary::follow::is_topic_name;
use crate::store::sessions::Message;

/// What a request is about, as far as its topic tells.
pub(super) fn about(topic: &str) -> About {
    let stream = match topic.parse() {
        Ok(Topic::Events(stream)) => Some(stream),
        _ => group(topic).map(|sync_id| StreamId {
            sync_id,
            channel: None,
        }),
    };
    About {
        stream,
        ..About::default()
    }
}

/// The group in whose part of the tree a topic lies, whatever follows.
fn group(topic: &str) -> Option<SyncId> {
    topic.strip_prefix("sync/")?.split('/').next()?.parse().ok()
}

/// Checks a request (TOPIC-3, EVENT-4, the grant) and notes in `about` what it learns.
pub(super) fn submission(
    identity: &Identity,
    event_bytes_max: usize,
    topic: &str,
    payload: &[u8],
    about: &mut About,
) -> Result<Submission, Refused> {
    let stream = events_stream(topic)?;
    if payload.len() > event_bytes_max {
        let reason = format!(
            "the event has {} bytes; at most {event_bytes_max}",
            payload.len()
        );
        return Err(Refused::new(RefusalName::TooLarge, reason));
    }
    let intent = Intent::decode(payload)?;
    about.event_type = Some(intent.event_type.clone());
    about.device_seq = intent.device_seq;
    authorize(identity, &stream, &intent)?;
    Ok(Submission::new(
        stream,
        Arc::clone(&identity.principal),
        identity.device,
        intent,
    ))
}

/// Checks an ordinary message: its topic's name, and the grant.
pub(super) fn posting(identity: &Identity, publish: &Publish) -> Result<Posting, Refused> {
    if !is_topic_name(&publish.topic) {
        let reason = "a topic is not empty and has no wildcard";
        return Err(Refused::new(RefusalName::BadTopic, reason));
    }
    if !identity.principal.grant().writes_topic(&publish.topic) {
        let reason = "this principal may not publish on this topic";
        return Err(Refused::new(RefusalName::NotAllowed, reason));
    }
    Ok(Posting {
        message: Message {
            topic: publish.topic.clone(),
            payload: Bytes::copy_from_slice(publish.payload.as_slice()),
            qos: qos_number(publish.qos),
            retain: publish.retain,
            properties: publish.properties.clone(),
            expires_at: None,
        },
        expiry_s: publish.expiry_s,
    })
}

fn events_stream(topic: &str) -> Result<StreamId, Refused> {
    match topic.parse() {
        Ok(Topic::Events(stream)) => Ok(stream),
        Ok(_) => Err(Refused::new(
            RefusalName::BadTopic,
            "only the broker publishes on this topic",
        )),
        Err(error) => Err(Refused::new(RefusalName::BadTopic, error.to_string())),
    }
}

fn authorize(identity: &Identity, stream: &StreamId, intent: &Intent) -> Result<(), Refused> {
    if !identity.principal.grant().writes(stream) {
        let reason = "this principal may not write to this stream";
        return Err(Refused::new(RefusalName::NotAllowed, reason));
    }
    match intent.device {
        Some(device) if device != identity.device && !identity.principal.is_gateway() => {
            let reason = format!("this connection speaks for device {}", identity.device);
            Err(Refused::new(RefusalName::NotYourDevice, reason))
        }
        _ => Ok(()),
    }
}
