//! The CONNECT: accepted with what this broker can do, or refused with the reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use syncline_protocol::{DeviceId, Refused};

use super::super::identity::Identity;
use super::super::submission::Submission;
use super::answers::About;
use super::end::EndReason;
use super::packet::{Connect, Publish};
use super::timers::Timer;
use super::{Action, Live, Phase, Session, inbound};

/// A refused CONNECT: the codes of both versions and a sentence.
struct Refusal {
    v5: ConnectReasonCode,
    v3: ConnectReturnCode,
    reason: String,
}

impl Refusal {
    fn new(v5: ConnectReasonCode, v3: ConnectReturnCode, reason: impl Into<String>) -> Self {
        Self {
            v5,
            v3,
            reason: reason.into(),
        }
    }
}

impl Session {
    pub(super) fn connect(&mut self, now: Instant, connect: Connect) {
        self.timers.clear(Timer::Connect);
        self.wire.agree(
            connect.version,
            connect.packet_bytes_max,
            connect.problem_information,
        );
        match self.admit(&connect) {
            Ok((live, assigned)) => self.accept(now, connect, live, assigned),
            Err(refusal) => {
                self.wire
                    .connack_refused(refusal.v5, refusal.v3, &refusal.reason);
                self.end(EndReason::Refused(refusal.reason));
            }
        }
    }

    fn accept(&mut self, now: Instant, connect: Connect, live: Live, assigned: Option<String>) {
        let connack = self
            .wire
            .connack(self.options.receive_maximum, assigned.as_deref());
        if let Err(error) = connack {
            let reason = format!("its CONNACK cannot be sent: {error}");
            return self.end(EndReason::Refused(reason));
        }
        let identity = Arc::clone(&live.identity);
        self.phase = Phase::Live(Box::new(live));
        self.heard(now);
        let client_id = assigned.unwrap_or(connect.client_id);
        self.actions.push_back(Action::Accepted {
            client_id,
            identity,
        });
    }

    /// Decides on a CONNECT; with it comes the client id that is given to a client that brings none.
    fn admit(&self, connect: &Connect) -> Result<(Live, Option<String>), Refusal> {
        use ConnectReasonCode as V5;
        use ConnectReturnCode as V3;
        if connect.extended_authentication {
            let reason = "extended authentication is not served";
            return Err(Refusal::new(
                V5::BadAuthenticationMethod,
                V3::NotAuthorized,
                reason,
            ));
        }
        let assigned = self.assigned_client_id(connect)?;
        let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
        let device: Option<DeviceId> = match connect.device.as_deref().map(str::parse) {
            None => None,
            Some(Ok(device)) => Some(device),
            Some(Err(_)) => {
                let reason = "the user property device is not a UUID of 36 characters";
                return Err(Refusal::new(
                    V5::UnspecifiedError,
                    V3::NotAuthorized,
                    reason,
                ));
            }
        };
        let name = connect.name.clone();
        let identity = Identity::new(Arc::clone(&self.principal), device, client_id, name);
        let will = connect
            .will
            .as_ref()
            .map(|will| self.will(&identity, will))
            .transpose()?;
        Ok((self.live(connect, identity, will), assigned))
    }

    fn live(&self, connect: &Connect, identity: Identity, will: Option<Submission>) -> Live {
        let ours = self.options.inflight_max;
        let inflight_max = connect.receive_maximum.unwrap_or(u16::MAX).min(ours);
        let keep_alive = u64::from(connect.keep_alive_s) * 1_500;
        Live {
            identity: Arc::new(identity),
            keep_alive: (keep_alive > 0).then(|| Duration::from_millis(keep_alive)),
            will,
            inflight: std::collections::HashMap::new(),
            inflight_max: usize::from(inflight_max),
            subscribing: false,
            reporting: None,
            failed: false,
            draining: false,
        }
    }

    /// The id for a client that brings none. 3.1.1 allows that with a clean session only (MQTT-3.1.3-8).
    fn assigned_client_id(&self, connect: &Connect) -> Result<Option<String>, Refusal> {
        if !connect.client_id.is_empty() {
            return Ok(None);
        }
        if !self.wire.is_v5() && !connect.clean {
            return Err(Refusal::new(
                ConnectReasonCode::ClientIdentifierNotValid,
                ConnectReturnCode::IdentifierRejected,
                "an empty client id needs a clean session",
            ));
        }
        Ok(Some(self.fresh_client_id.clone()))
    }

    /// A will is an event that is submitted later, so it is checked now, while the client can be told.
    fn will(&self, identity: &Identity, will: &Publish) -> Result<Submission, Refusal> {
        if will.qos == Qos::ExactlyOnce && self.wire.is_v5() {
            return Err(Refusal::new(
                ConnectReasonCode::QosNotSupported,
                ConnectReturnCode::NotAuthorized,
                "the will has QoS 2, and this broker takes QoS 0 and 1",
            ));
        }
        let limit = self.options.event_bytes_max;
        let payload = will.payload.as_slice();
        inbound::submission(identity, limit, &will.topic, payload, &mut About::default())
            .map_err(|refused| will_refusal(&refused))
    }
}

fn will_refusal(refused: &Refused) -> Refusal {
    let code = ConnectReasonCode::try_from(refused.name.reason_code());
    let v5 = code.unwrap_or(ConnectReasonCode::UnspecifiedError);
    Refusal::new(
        v5,
        ConnectReturnCode::NotAuthorized,
        format!("the will is refused: {refused}"),
    )
}
