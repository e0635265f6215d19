//! The events of streams, filtered.

use std::io::Write;

use clap::Args;
use serde::{Deserialize, Serialize};
use syncline_protocol::event::Event;
use syncline_protocol::{DeviceId, Seq, StreamId};

use super::moment::Shown;
use super::{HistoryError, Moment, READ, StreamName, each_stream};
use crate::store::{Committed, EventStore, Stop, StoreError};

/// What to list.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogRequest {
    /// Only this stream: <sync_id> or <sync_id>/<channel>. All streams without it.
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamName>,
    /// Only events after this seq or time (2026-11-22T18:30:00Z).
    #[arg(long, value_name = "SEQ|TIME")]
    pub since: Option<Moment>,
    /// Only events up to this seq or time.
    #[arg(long, value_name = "SEQ|TIME")]
    pub until: Option<Moment>,
    /// Only events of this type; can be given more than once.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    pub event_type: Vec<String>,
    /// Only events of this device.
    #[arg(long, value_name = "UUID")]
    pub device: Option<String>,
    /// At most so many events.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// One JSON object per line, as `$json/…/events` delivers them.
    #[arg(long)]
    pub json: bool,
}

/// Writes the events that are kept and match, stream by stream, in the order of their seq.
pub(super) fn log(
    store: &dyn EventStore,
    request: &LogRequest,
    stop: &Stop,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let mut listing = Listing::new(store, request, stop, out)?;
    match &request.stream {
        Some(StreamName(stream)) => listing.stream(stream),
        None => each_stream(store, stop, |stream, _| listing.stream(stream)),
    }
}

struct Listing<'a> {
    store: &'a dyn EventStore,
    request: &'a LogRequest,
    stop: &'a Stop,
    device: Option<DeviceId>,
    left: u64,
    out: &'a mut dyn Write,
}

impl<'a> Listing<'a> {
    fn new(
        store: &'a dyn EventStore,
        request: &'a LogRequest,
        stop: &'a Stop,
        out: &'a mut dyn Write,
    ) -> Result<Self, HistoryError> {
        let device = request.device.as_deref().map(|text| {
            let no_device =
                |_| HistoryError::Request(format!("{text:?} is not the UUID of a device"));
            text.parse().map_err(no_device)
        });
        Ok(Self {
            store,
            request,
            stop,
            device: device.transpose()?,
            left: request.limit.unwrap_or(u64::MAX),
            out,
        })
    }

    fn stream(&mut self, stream: &StreamId) -> Result<(), HistoryError> {
        let head = self.store.head(stream)?;
        let place = |moment: Option<Moment>, or: Seq| match moment {
            Some(moment) => moment.seq(self.store, stream, &head),
            None => Ok(or),
        };
        let (mut after, until) = (
            place(self.request.since, Seq::ZERO)?,
            place(self.request.until, head.seq)?,
        );
        while self.left > 0 && after < until {
            self.stop.check()?;
            let events = match self.store.read(stream, after, READ) {
                Ok(events) => events,
                Err(StoreError::Folded { kept_after }) => {
                    after = kept_after.max(after.next());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(last) = events.last().map(Committed::seq) else {
                break;
            };
            for event in events.iter().take_while(|event| event.seq() <= until) {
                let event = Event::decode(event.payload())
                    .map_err(|error| HistoryError::damaged(stream, event.seq(), &error))?;
                self.event(&event)?;
            }
            after = last;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), HistoryError> {
        if self.left == 0 || !self.matches(event) {
            return Ok(());
        }
        self.left -= 1;
        if self.request.json {
            writeln!(self.out, "{}", event.to_json())?;
        } else {
            writeln!(self.out, "{}", line(event))?;
        }
        Ok(())
    }

    fn matches(&self, event: &Event) -> bool {
        let types = &self.request.event_type;
        let of_type = types.is_empty() || types.iter().any(|it| it == event.event_type.as_str());
        of_type && self.device.is_none_or(|device| device == event.device)
    }
}

fn line(event: &Event) -> String {
    let Event {
        stream,
        seq,
        accepted_at,
        device,
        event_type,
        event_data,
        ..
    } = event;
    let (name, at) = (StreamName(stream.clone()), Shown(*accepted_at));
    let data = event_data.to_json();
    format!("{name} {seq} {at} {device} {event_type} {data}")
}
