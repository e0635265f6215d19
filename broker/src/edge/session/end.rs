//! Why a session ends.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use syncline_protocol::TransientName;

use crate::auth::Denied;
use crate::edge::counters::Count;
use crate::edge::limits::Crowded;

/// Why a session ended, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndReason {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("the client said goodbye and asked for its will")]
    GoodbyeWithWill,
    #[error("the connection was lost")]
    Lost,
    #[error("no CONNECT came in time")]
    NoConnect,
    #[error("closed before its CONNECT: {0}")]
    Crowded(Crowded),
    #[error("nothing was heard for 1.5 times the keep-alive")]
    KeepAlive,
    #[error("CONNECT refused: {1}")]
    Refused(Count, String),
    #[error("a packet broke the protocol: {0}")]
    Broken(MqttError),
    #[error("a packet was out of place")]
    OutOfPlace,
    #[error("a PUBLISH was on a name that no topic can have")]
    TopicName,
    #[error("{name}: {reason}")]
    Transient { name: TransientName, reason: String },
    #[error("the state that opens its subscription has {bytes} bytes, more than the client takes")]
    StateTooLarge { bytes: usize },
    #[error("another connection took over its client id")]
    TakenOver,
    #[error("its user may not be here any more")]
    Revoked,
    #[error("the token has expired")]
    Expired,
    #[error("what was said of its user has expired; connect again")]
    TimeOver,
    #[error("its fresh token was refused: {0}")]
    NotRenewed(Denied),
    #[error("the broker shuts down")]
    Draining,
}

impl EndReason {
    /// Whether the will is sent. After [`EndReason::Refused`] and [`EndReason::NoConnect`] there is none, and who may not
    /// be here any more has no say.
    pub(super) fn wants_will(&self) -> bool {
        let has_no_say = matches!(
            self,
            Self::Revoked | Self::Expired | Self::TimeOver | Self::NotRenewed(_)
        );
        !has_no_say && *self != Self::Goodbye
    }

    /// By what it is counted, if it is no ordinary end.
    pub(crate) fn count(&self) -> Option<Count> {
        Some(match self {
            Self::Goodbye | Self::GoodbyeWithWill | Self::Draining => return None,
            Self::Lost => Count::EndLost,
            Self::NoConnect => Count::EndNoConnect,
            Self::Crowded(crowded) => crowded.count(),
            Self::KeepAlive => Count::EndKeepAlive,
            Self::Refused(count, _) => *count,
            Self::Broken(_) => Count::EndMalformed,
            Self::OutOfPlace | Self::TopicName => Count::EndProtocol,
            Self::Transient { .. } => Count::EndTransient,
            Self::StateTooLarge { .. } => Count::EndStateTooLarge,
            Self::TakenOver => Count::EndTakenOver,
            Self::Revoked | Self::Expired | Self::TimeOver | Self::NotRenewed(_) => {
                Count::EndRevoked
            }
        })
    }

    /// What a v5 client is told, with the sentence for its reason string.
    pub(super) fn disconnect(&self) -> Option<(DisconnectReasonCode, Option<String>)> {
        use DisconnectReasonCode as Code;
        let code = match self {
            Self::Goodbye | Self::GoodbyeWithWill | Self::Lost | Self::NoConnect => return None,
            // Said where it was found out.
            Self::Refused(..) | Self::Broken(_) | Self::Crowded(_) => return None,
            Self::KeepAlive => Code::KeepAliveTimeout,
            Self::OutOfPlace => Code::ProtocolError,
            Self::TopicName => Code::TopicNameInvalid,
            Self::StateTooLarge { .. } => Code::PacketTooLarge,
            Self::TakenOver => Code::SessionTakenOver,
            Self::Revoked | Self::Expired | Self::TimeOver | Self::NotRenewed(_) => {
                Code::NotAuthorized
            }
            Self::Draining => Code::ServerShuttingDown,
            Self::Transient { name, .. } => {
                Code::try_from(name.reason_code()).unwrap_or(Code::UnspecifiedError)
            }
        };
        let is_of_its_user = matches!(self, Self::Expired | Self::TimeOver | Self::NotRenewed(_));
        let explains = matches!(self, Self::Transient { .. } | Self::StateTooLarge { .. });
        let reason = (explains || is_of_its_user).then(|| self.to_string());
        Some((code, reason))
    }
}
