//! What one connection may be shown, as of now (G9). Everything that leaves for a client has been asked about here.

use std::sync::Arc;

use syncline_protocol::{Filter, StreamId, Topic};

use super::devices::Devices;
use super::ordinary::follow::Follow;
use crate::acl::{Grant, Named, Principal};

/// What a connection may be shown.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    who: Arc<Principal>,
    devices: Arc<Devices>,
}

impl Sight {
    pub(crate) fn new(who: Arc<Principal>, devices: Arc<Devices>) -> Self {
        Self { who, devices }
    }

    /// Of a connection that has not said who it is.
    pub(crate) fn nothing() -> Self {
        let nobody = Principal::new(String::new(), Grant::Only(Named::default()), false);
        Self::new(Arc::new(nobody), Arc::default())
    }

    /// Events and states of a stream.
    pub(crate) fn shows(&self, stream: &StreamId) -> bool {
        self.who.grant().reads(stream)
    }

    /// A message on a topic.
    pub(crate) fn shows_topic(&self, topic: &str) -> bool {
        self.who.grant().may_read(topic) && self.shows_errors(topic)
    }

    /// Whether a subscription may begin.
    pub(crate) fn may_subscribe(&self, filter: &Filter) -> bool {
        let follow = Follow::of(filter);
        let filter = follow.as_ref().map_or(filter, |it| &it.filter);
        self.who.grant().may_subscribe(filter)
            && (filter.has_wildcard() || self.shows_errors(filter.as_str()))
    }

    /// What is wrong with a device's events is for its owner (EVENT-11).
    fn shows_errors(&self, topic: &str) -> bool {
        if !topic.contains("/errors/") {
            return true;
        }
        match topic.parse() {
            Ok(Topic::Errors(group, device)) => self.devices.are_open_to(&self.who, &group, device),
            _ => true,
        }
    }
}
