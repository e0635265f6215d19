//! How the redb store writes what a session holds. Numbers are big endian.

use bytes::Bytes;
use syncline_protocol::{Filter, StreamId, UnixMillis};

use super::{Message, Reach, Reaches, StoredSubscription};

const JSON: u8 = 1;
const NO_LOCAL: u8 = 2;
const RETAIN_AS_PUBLISHED: u8 = 4;
const IDENTIFIER: u8 = 8;

const RETAIN: u8 = 1;
const EXPIRES: u8 = 2;

/// Flags, QoS, identifier (if flagged), where it began, then the scans for events and for states.
pub(crate) fn write_subscription(it: &StoredSubscription) -> Vec<u8> {
    let flags = flag(JSON, it.json)
        | flag(NO_LOCAL, it.no_local)
        | flag(RETAIN_AS_PUBLISHED, it.retain_as_published)
        | flag(IDENTIFIER, it.identifier.is_some());
    let mut bytes = vec![flags, it.qos];
    bytes.extend(it.identifier.into_iter().flat_map(u32::to_be_bytes));
    bytes.extend(it.began.to_be_bytes());
    write_reach(&mut bytes, it.scans.events.as_ref());
    write_reach(&mut bytes, it.scans.states.as_ref());
    bytes
}

/// Reads what [`write_subscription`] wrote; `None` if it did not.
pub(crate) fn read_subscription(filter: Filter, bytes: &[u8]) -> Option<StoredSubscription> {
    let mut rest = bytes;
    let known = JSON | NO_LOCAL | RETAIN_AS_PUBLISHED | IDENTIFIER;
    let (flags, qos) = take_flags(&mut rest, known)?;
    let identifier = match flags & IDENTIFIER {
        0 => None,
        _ => Some(u32::from_be_bytes(take(&mut rest)?)),
    };
    let began = u64::from_be_bytes(take(&mut rest)?);
    let events = read_reach(&mut rest)?;
    let states = read_reach(&mut rest)?;
    rest.is_empty().then_some(StoredSubscription {
        filter,
        json: flags & JSON != 0,
        qos,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        identifier,
        began,
        scans: Reaches { events, states },
    })
}

/// Flags, QoS, expiry (if flagged), the length of the properties, they, the payload. The topic is the key, or stands before.
pub(crate) fn write_message(it: &Message) -> Vec<u8> {
    let flags = flag(RETAIN, it.retain) | flag(EXPIRES, it.expires_at.is_some());
    let mut bytes = vec![flags, it.qos];
    let expires_at = it.expires_at.map(|at| at.get().to_be_bytes());
    bytes.extend(expires_at.into_iter().flatten());
    write_text(&mut bytes, it.topic.as_bytes());
    write_text(&mut bytes, &it.properties);
    bytes.extend_from_slice(&it.payload);
    bytes
}

/// Reads what [`write_message`] wrote; `None` if it did not.
pub(crate) fn read_message(bytes: &[u8]) -> Option<Message> {
    let mut rest = bytes;
    let (flags, qos) = take_flags(&mut rest, RETAIN | EXPIRES)?;
    let expires_at = match flags & EXPIRES {
        0 => None,
        _ => Some(UnixMillis::new(u64::from_be_bytes(take(&mut rest)?))),
    };
    let topic = String::from_utf8(read_text(&mut rest)?.to_vec()).ok()?;
    let properties = Bytes::copy_from_slice(read_text(&mut rest)?);
    Some(Message {
        topic,
        payload: Bytes::copy_from_slice(rest),
        qos,
        retain: flags & RETAIN != 0,
        properties,
        expires_at,
    })
}

/// The number of steps, 0 for none; then for each its position and the stream as text, empty for the beginning.
fn write_reach(bytes: &mut Vec<u8>, reach: Option<&Reach>) {
    let steps = reach.map_or(&[][..], Reach::steps);
    bytes.push(u8::try_from(steps.len()).expect("STEPS_MAX fits a byte"));
    for (after, position) in steps {
        bytes.extend(position.to_be_bytes());
        let name = after.as_ref().map_or_else(String::new, StreamId::to_string);
        write_text(bytes, name.as_bytes());
    }
}

fn read_reach(rest: &mut &[u8]) -> Option<Option<Reach>> {
    let [count] = take(rest)?;
    let mut steps = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let position = u64::from_be_bytes(take(rest)?);
        let name = std::str::from_utf8(read_text(rest)?).ok()?;
        steps.push((read_stream(name)?, position));
    }
    match count {
        0 => Some(None),
        _ => Some(Some(Reach::from_steps(steps)?)),
    }
}

fn read_stream(name: &str) -> Option<Option<StreamId>> {
    match name.strip_prefix("sync/") {
        None if name.is_empty() => Some(None),
        None => None,
        Some(rest) => {
            let (group, channel) = match rest.split_once('/') {
                None => (rest, None),
                Some((group, channel)) => (group, Some(channel.parse().ok()?)),
            };
            let sync_id = group.parse().ok()?;
            Some(Some(StreamId { sync_id, channel }))
        }
    }
}

/// Flags, none of them unknown, and a QoS.
fn take_flags(rest: &mut &[u8], known: u8) -> Option<(u8, u8)> {
    let [flags, qos] = take(rest)?;
    (flags & !known == 0 && qos <= 2).then_some((flags, qos))
}

fn flag(bit: u8, on: bool) -> u8 {
    if on { bit } else { 0 }
}

fn write_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let len = u32::try_from(text.len()).expect("an MQTT packet is below 2^28 bytes");
    bytes.extend(len.to_be_bytes());
    bytes.extend_from_slice(text);
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (text, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(text)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stream;
    use crate::store::sessions::contract::subscription;

    #[test]
    fn each_flag_of_a_subscription_is_its_own() {
        let plain = StoredSubscription {
            json: false,
            no_local: false,
            retain_as_published: false,
            identifier: None,
            ..subscription("sync/#")
        };
        let with = |change: fn(&mut StoredSubscription)| {
            let mut it = plain.clone();
            change(&mut it);
            it
        };
        let all = [
            plain.clone(),
            with(|it| it.json = true),
            with(|it| it.no_local = true),
            with(|it| it.retain_as_published = true),
            with(|it| it.identifier = Some(268_435_455)),
        ];
        for it in all {
            let bytes = write_subscription(&it);
            assert_eq!(read_subscription(it.filter.clone(), &bytes), Some(it));
        }
    }

    #[test]
    fn what_was_cut_off_is_not_read() {
        let written = StoredSubscription {
            scans: Reaches {
                events: Some(Reach::all(3).passed(&stream("home/x"), 9)),
                states: None,
            },
            ..subscription("sync/#")
        };
        let bytes = write_subscription(&written);
        let read = |bytes: &[u8]| read_subscription(written.filter.clone(), bytes);
        assert_eq!(read(&bytes), Some(written.clone()));
        (0..bytes.len()).for_each(|end| assert_eq!(read(&bytes[..end]), None, "{end}"));
    }

    #[test]
    fn flags_and_qualities_that_nobody_wrote_are_not_read() {
        let bytes = write_subscription(&subscription("sync/#"));
        let filter = || "sync/#".parse().unwrap();
        for (at, value) in [(0, 0x40), (1, 3)] {
            let mut garbled = bytes.clone();
            garbled[at] |= value;
            assert_eq!(read_subscription(filter(), &garbled), None, "{at}");
        }
        assert!(read_subscription(filter(), &bytes).is_some());
        assert_eq!(read_message(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert!(read_message(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_some());
    }
}
