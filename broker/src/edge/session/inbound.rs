//! From a PUBLISH to a submission, or to the name of the refusal.

use std::sync::Arc;

use syncline_protocol::{Intent, RefusalName, Refused, StreamId, SyncId, Topic};

use super::super::identity::Identity;
use super::super::submission::Submission;
use super::answers::About;

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
