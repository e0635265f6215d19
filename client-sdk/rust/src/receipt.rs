//! What becomes of a change: on this device, on the broker, on other devices.

use std::sync::Arc;

use syncline_client_core::{Outcome, Refusal};
use syncline_protocol::{DeviceId, Seq};
use tokio::sync::watch;

use crate::client::{Closed, End};
use crate::devices::Device;

/// An intent on the broker's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Its place in the stream, if the broker still knew it.
    pub seq: Option<Seq>,
}

/// Why an intent is not on the broker's disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotSaved {
    /// The broker refused it for good; it was set aside.
    #[error("{}: {}", .0.name, .0.reason)]
    Refused(Refusal),
    /// The client ended before. The intent is in the store and goes out with the next client on it.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why nobody can say that another device has an intent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotSeen {
    /// It is not even on the broker's disk.
    #[error(transparent)]
    NotSaved(#[from] NotSaved),
    /// The broker said that it has it, and no longer knew where.
    #[error("the broker has it, but no longer knew at which place of the stream")]
    UnknownPlace,
}

/// Of an intent that is durable in the outbox, which is the first step. The second is the broker's disk ([`Receipt::saved`]), the
/// third another device ([`Receipt::seen_by`]). Clones are of the same intent.
#[derive(Debug, Clone)]
pub struct Receipt {
    outcome: watch::Receiver<Option<Outcome>>,
    devices: watch::Receiver<Arc<[Device]>>,
    end: End,
}

impl Receipt {
    pub(crate) fn new(
        outcome: watch::Receiver<Option<Outcome>>,
        devices: watch::Receiver<Arc<[Device]>>,
        end: End,
    ) -> Self {
        Self {
            outcome,
            devices,
            end,
        }
    }

    /// Waits for the broker's answer, however long that takes. A change that a later one replaced before it was ever
    /// sent (star, unstar, star) has the answer of that one.
    pub async fn saved(&self) -> Result<Saved, NotSaved> {
        let mut outcome = self.outcome.clone();
        let told = outcome.wait_for(Option::is_some).await;
        match told.ok().and_then(|it| it.clone()) {
            Some(Outcome::Saved(seq)) => Ok(Saved { seq }),
            Some(Outcome::Refused(refusal)) => Err(NotSaved::Refused(refusal)),
            // The driver hands on the receipts of what was superseded, so this is the end of a driver.
            Some(Outcome::Superseded(_)) | None => Err(self.end.closed().into()),
        }
    }

    /// Waits until another device has told the broker that it has this, however long that takes: also while this client is
    /// offline, or that device. Drop the future to stop waiting.
    pub async fn seen_by(&self, device: DeviceId) -> Result<(), NotSeen> {
        let seq = self.saved().await?.seq.ok_or(NotSeen::UnknownPlace)?;
        let mut devices = self.devices.clone();
        let has_it = |it: &Device| it.id == device && it.acked >= Some(seq);
        let seen = devices.wait_for(|all| all.iter().any(has_it)).await;
        match seen {
            Ok(_) => Ok(()),
            Err(_) => Err(NotSaved::Closed(self.end.closed()).into()),
        }
    }
}
