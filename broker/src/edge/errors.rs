//! What is told of a refused event on its device's errors topic (ANSWER-5).

use syncline_protocol::{Notice, Topic};

use super::ephemeral::Ephemeral;

/// The message of a notice.
pub(crate) fn message(notice: &Notice) -> Ephemeral {
    let topic = Topic::Errors(notice.stream.sync_id.clone(), notice.device);
    Ephemeral::new(&topic, notice.encode(), notice.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_protocol::{DeviceId, StreamId};

    #[test]
    fn answer_5_a_notice_goes_to_its_device_in_both_encodings() {
        let notice = Notice {
            error: "bad_value".to_owned(),
            reason: "too deep".to_owned(),
            stream: StreamId {
                sync_id: "home".parse().unwrap(),
                channel: None,
            },
            device: DeviceId::from_bytes([7; 16]),
            event_type: Some("star_album".to_owned()),
            device_seq: None,
        };
        let message = message(&notice);
        assert_eq!(
            message.topic(),
            format!("sync/home/errors/{}", notice.device)
        );
        assert_eq!(Notice::decode(message.payload(false)).unwrap(), notice);
        assert_eq!(Notice::decode(message.payload(true)).unwrap(), notice);
    }
}
