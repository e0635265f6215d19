//! The CONNECT: accepted with what this broker can do, or refused with the reason.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use syncline_protocol::{DeviceId, Refused};

use super::super::counters::Count;
use super::super::identity::Identity;
use super::super::limits::Crowded;
use super::answers::About;
use super::end::EndReason;
use super::packet::{Connect, Publish};
use super::renewal::METHOD;
use super::timers::Timer;
use super::wire::{Agreement, Connack};
use super::{Action, Live, NoSession, Opening, Phase, Session, Will, inbound};
use crate::auth::{Admission, Credentials, Denied, Secret};
use crate::edge::ordinary::follow::is_outside;

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
    /// Asks who it is. The timer of the CONNECT runs on until that is known.
    pub(super) fn connect(&mut self, mut connect: Box<Connect>) {
        self.wire.agree(Agreement {
            version: connect.version,
            packet_bytes_max: connect.packet_bytes_max,
            topic_alias_max: connect.topic_alias_max,
            problem_information: connect.problem_information,
        });
        if let Some(crowded) = self.crowded {
            return self.refuse_connect(crowded.into());
        }
        if connect.method.as_deref().is_some_and(|it| it != METHOD) {
            return self.refuse_connect(denial(Denied::Method));
        }
        let credentials = Credentials {
            user: connect.user.take(),
            password: connect.password.take(),
            // With the method and without a token, it is one that is none.
            token: connect.method.is_some().then(|| {
                let token = connect.token.take();
                token.unwrap_or_else(|| Secret::new([]))
            }),
            client_id: Some(connect.client_id.clone()).filter(|it| !it.is_empty()),
            ..Credentials::default()
        };
        self.actions
            .push_back(Action::Authenticate(Box::new(credentials)));
        self.phase = Phase::Entering(connect);
    }

    /// What [`Action::Authenticate`] asked for is known.
    pub(crate) fn authenticated(&mut self, admission: Result<Admission, Denied>) {
        let before = std::mem::replace(&mut self.phase, Phase::Fresh);
        let Phase::Entering(connect) = before else {
            self.phase = before;
            return;
        };
        let admission = admission.map_err(denial);
        match admission.and_then(|admission| self.admit(&connect, admission)) {
            Ok((live, assigned)) => self.open(&connect, live, assigned),
            Err(refusal) => self.refuse_connect(refusal),
        }
    }

    fn refuse_connect(&mut self, refusal: Refusal) {
        self.wire
            .connack_refused(refusal.v5, refusal.v3, &refusal.reason);
        let count = refusal_count(refusal.v5);
        self.end(EndReason::Refused(count, refusal.reason));
    }

    /// Asks for the client's session. The timer of the CONNECT runs on until it is there.
    fn open(&mut self, connect: &Connect, live: Live, assigned: Option<String>) {
        let v5 = self.wire.is_v5();
        self.expiry_ms = match (v5, connect.clean) {
            (true, _) => expiry_ms(connect.expiry_s, self.options.expiry_ms_max),
            (false, true) => 0,
            (false, false) => self.options.expiry_ms_max,
        };
        let client_id = assigned
            .clone()
            .unwrap_or_else(|| connect.client_id.clone());
        self.actions.push_back(Action::Open {
            client_id,
            identity: Arc::clone(&live.identity),
            opening: Opening {
                clean: connect.clean,
                expiry_ms: self.expiry_ms,
                v5,
            },
        });
        self.phase = Phase::Opening(Box::new(live), assigned);
    }

    /// The session that [`Action::Open`] asked for is there; `present`: it was kept.
    pub(crate) fn opened(&mut self, now: Instant, present: bool) {
        let before = std::mem::replace(&mut self.phase, Phase::Fresh);
        let Phase::Opening(live, assigned) = before else {
            self.phase = before;
            return;
        };
        let connack = self.wire.connack(&Connack {
            session_present: present,
            expiry_s: expiry_s(self.expiry_ms),
            receive_maximum: self.options.receive_maximum,
            topic_alias_max: self.options.topic_alias_max,
            keep_alive_s: live.server_keep_alive_s,
            assigned: assigned.as_deref(),
            method: live.by_method.then_some(METHOD),
        });
        if let Err(error) = connack {
            let reason = format!("its CONNACK cannot be sent: {error}");
            return self.end(EndReason::Refused(Count::ConnectRefused, reason));
        }
        self.timers.clear(Timer::Connect);
        self.phase = Phase::Live(live);
        self.heard(now);
    }

    /// The session that [`Action::Open`] asked for cannot be had.
    pub(crate) fn refused(&mut self, why: NoSession) {
        if !matches!(self.phase, Phase::Opening(..)) {
            return;
        }
        let (v5, reason) = match why {
            NoSession::TooMany => (
                ConnectReasonCode::QuotaExceeded,
                "as many sessions are kept as sessions.sessions_max allows",
            ),
            NoSession::TooManyOfUser => {
                return self.refuse_connect(Crowded::User.into());
            }
            NoSession::StorageFailed => (
                ConnectReasonCode::ServerUnavailable,
                "the session could not be read or kept",
            ),
        };
        let v3 = ConnectReturnCode::ServerUnavailable;
        self.refuse_connect(Refusal::new(v5, v3, reason));
    }

    /// Decides on a CONNECT; with it comes the client id that is given to a client that brings none.
    fn admit(
        &self,
        connect: &Connect,
        admission: Admission,
    ) -> Result<(Live, Option<String>), Refusal> {
        use ConnectReasonCode as V5;
        use ConnectReturnCode as V3;
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
        let identity = Identity::new(admission, device, client_id, name);
        let will = connect
            .will
            .as_ref()
            .map(|will| self.will(&identity, will, connect.will_delay_s))
            .transpose()?;
        Ok((self.live(connect, identity, will), assigned))
    }

    fn live(&self, connect: &Connect, identity: Identity, will: Option<Will>) -> Live {
        let ours = self.options.inflight_max;
        let inflight_max = connect.receive_maximum.unwrap_or(u16::MAX).min(ours);
        let server_keep_alive_s = self.server_keep_alive_s(connect);
        let keep_alive_s = server_keep_alive_s.unwrap_or(connect.keep_alive_s);
        let keep_alive = u64::from(keep_alive_s) * 1_500;
        Live {
            identity: Arc::new(identity),
            keep_alive: (keep_alive > 0).then(|| Duration::from_millis(keep_alive)),
            server_keep_alive_s,
            by_method: connect.method.is_some(),
            will,
            inflight: HashMap::new(),
            inflight_max: usize::from(inflight_max),
            received: HashSet::new(),
            releasing: HashSet::new(),
            resuming: VecDeque::new(),
            subscribing: false,
            renewing: false,
            reporting: None,
            failed: false,
            draining: false,
        }
    }

    /// What a v5 client with a longer Keep Alive, or with none, has to keep instead.
    fn server_keep_alive_s(&self, connect: &Connect) -> Option<u16> {
        let longest = self.options.keep_alive_s_max;
        let asks_for_more = connect.keep_alive_s == 0 || connect.keep_alive_s > longest;
        (self.wire.is_v5() && longest > 0 && asks_for_more).then_some(longest)
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

    /// A will is published later, so it is checked now, while the client can be told. Under `sync/` it is an event.
    fn will(&self, identity: &Identity, will: &Publish, delay_s: u32) -> Result<Will, Refusal> {
        let checked = match is_outside(&will.topic) {
            true => inbound::posting(identity, will).map(|it| Will::Posting(it, delay_s)),
            false => {
                let (limit, payload) = (self.options.event_bytes_max, will.payload.as_slice());
                let about = &mut About::default();
                inbound::submission(identity, limit, &will.topic, payload, about).map(Will::Event)
            }
        };
        checked.map_err(|refused| will_refusal(&refused))
    }
}

/// The v5 Session Expiry Interval in milliseconds, bounded; 0xFFFFFFFF means never.
pub(super) fn expiry_ms(expiry_s: u32, max_ms: u64) -> u64 {
    match expiry_s {
        u32::MAX => max_ms,
        seconds => (u64::from(seconds) * 1_000).min(max_ms),
    }
}

/// As a v5 client is told.
fn expiry_s(expiry_ms: u64) -> u32 {
    u32::try_from(expiry_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// By what a refused CONNECT is counted.
fn refusal_count(code: ConnectReasonCode) -> Count {
    use ConnectReasonCode as Code;
    match code {
        Code::BadUserNameOrPassword => Count::ConnectBadCredentials,
        Code::NotAuthorized | Code::BadAuthenticationMethod => Count::ConnectNotAuthorised,
        Code::ConnectionRateExceeded => Count::ConnectRate,
        Code::QuotaExceeded => Count::ConnectQuota,
        Code::ServerBusy => Count::ConnectOverload,
        Code::ServerUnavailable => Count::ConnectUnavailable,
        _ => Count::ConnectRefused,
    }
}

impl From<Crowded> for Refusal {
    fn from(crowded: Crowded) -> Self {
        let code = match crowded {
            Crowded::Rate => ConnectReasonCode::ConnectionRateExceeded,
            Crowded::Overload => ConnectReasonCode::ServerBusy,
            Crowded::Address | Crowded::Port | Crowded::User => ConnectReasonCode::QuotaExceeded,
        };
        Self::new(
            code,
            ConnectReturnCode::ServerUnavailable,
            crowded.to_string(),
        )
    }
}

fn denial(denied: Denied) -> Refusal {
    use ConnectReasonCode as V5;
    use ConnectReturnCode as V3;
    let (v5, v3) = match denied {
        Denied::BadCredentials => (V5::BadUserNameOrPassword, V3::BadUserNameOrPassword),
        Denied::NotAuthorised | Denied::Expired | Denied::OtherUser | Denied::NotRenewable => {
            (V5::NotAuthorized, V3::NotAuthorized)
        }
        Denied::Method => (V5::BadAuthenticationMethod, V3::NotAuthorized),
        Denied::Throttled => (V5::ConnectionRateExceeded, V3::ServerUnavailable),
        Denied::Unavailable => (V5::ServerUnavailable, V3::ServerUnavailable),
        Denied::Busy => (V5::ServerBusy, V3::ServerUnavailable),
    };
    Refusal::new(v5, v3, denied.to_string())
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
