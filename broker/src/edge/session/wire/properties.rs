//! The properties of version 5 that packets are sent with.

use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, AuthenticationMethod, MessageExpiryInterval, Property, ReasonString,
    ReceiveMaximum, ServerKeepAlive, SessionExpiryInterval, SubscriptionIdentifier,
    TopicAliasMaximum,
};

use super::{Connack, OutPublish};

/// What a CONNACK says that accepts.
pub(super) fn accepted_properties(it: &Connack<'_>) -> Vec<Property> {
    let fixed = [
        SessionExpiryInterval::new(it.expiry_s).map(Property::SessionExpiryInterval),
        ReceiveMaximum::new(it.receive_maximum).map(Property::ReceiveMaximum),
    ];
    let aliases = (it.topic_alias_max > 0)
        .then(|| TopicAliasMaximum::new(it.topic_alias_max).map(Property::TopicAliasMaximum));
    let keep_alive = it
        .keep_alive_s
        .map(|seconds| ServerKeepAlive::new(seconds).map(Property::ServerKeepAlive));
    let assigned = it
        .assigned
        .map(|id| AssignedClientIdentifier::new(id).map(Property::AssignedClientIdentifier));
    let method = it
        .method
        .map(|method| AuthenticationMethod::new(method).map(Property::AuthenticationMethod));
    fixed
        .into_iter()
        .chain(method)
        .chain(aliases)
        .chain(keep_alive)
        .chain(assigned)
        .filter_map(Result::ok)
        .collect()
}

/// A sentence for people.
pub(super) fn reason_string(reason: &str) -> Vec<Property> {
    ReasonString::new(reason)
        .map(|it| vec![Property::ReasonString(it)])
        .unwrap_or_default()
}

/// What goes with a message, but for its topic alias.
pub(super) fn publish_properties(it: &OutPublish<'_>) -> Vec<Property> {
    let mut props = Vec::new();
    let mut rest = it.properties;
    // They came over a wire and out of the same library.
    while let Ok((property, length)) = Property::parse(rest) {
        props.push(property);
        rest = rest.get(length..).unwrap_or_default();
    }
    let expiry = it.expiry_s.map(MessageExpiryInterval::new);
    props.extend(
        expiry
            .and_then(Result::ok)
            .map(Property::MessageExpiryInterval),
    );
    let identifier = |id: &u32| SubscriptionIdentifier::new(*id).ok();
    let identifiers = it.identifiers.iter().filter_map(identifier);
    props.extend(identifiers.map(Property::SubscriptionIdentifier));
    props
}
