//! What becomes of a change: on this device, on the broker, on other devices.

use std::sync::Arc;

use syncline_client_core::{Outcome, Refusal};
use syncline_protocol::{DeviceId, Epoch, Seq};
use tokio::sync::watch;

use crate::client::{Closed, End};
use crate::devices::Device;

/// An intent on the broker's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Its place in the stream, if the broker still knew it, and had a word for it (MQTT 3.1.1 has none).
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
    #[error("the broker has it, but did not say at which place of the stream")]
    UnknownPlace,
    /// The broker was restored, or its stream begun anew: the place at which it was saved means nothing any more.
    #[error("the broker has another history now, in which that place means nothing")]
    OtherHistory,
}

/// What the broker said, and in which history.
pub(crate) type Told = (Outcome, Epoch);

/// Of an intent that is durable in the outbox, which is the first step. The second is the broker's disk ([`Receipt::saved`]), the
/// third another device ([`Receipt::seen_by`]). Clones are of the same intent.
#[derive(Debug, Clone)]
pub struct Receipt {
    outcome: watch::Receiver<Option<Told>>,
    around: Around,
    end: End,
}

/// What a receipt looks at beside the answer.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) devices: watch::Receiver<Arc<[Device]>>,
    pub(crate) epoch: watch::Receiver<Epoch>,
}

impl Receipt {
    pub(crate) fn new(outcome: watch::Receiver<Option<Told>>, around: Around, end: End) -> Self {
        Self {
            outcome,
            around,
            end,
        }
    }

    /// Waits for the broker's answer, however long that takes. A change that a later one replaced before it was ever
    /// sent (star, unstar, star) has the answer of that one.
    ///
    /// ```no_run
    /// # async fn example(receipt: &syncline_client::Receipt) {
    /// use syncline_client::NotSaved;
    ///
    /// match receipt.saved().await {
    ///     Ok(saved) => println!("on the broker's disk, as event {:?}", saved.seq),
    ///     Err(NotSaved::Refused(refusal)) => println!("never: {}", refusal.reason),
    ///     Err(error) => println!("{error}; what is stored is sent after the next start"),
    /// }
    /// # }
    /// ```
    pub async fn saved(&self) -> Result<Saved, NotSaved> {
        Ok(self.saved_in().await?.0)
    }

    /// And in which history.
    async fn saved_in(&self) -> Result<(Saved, Epoch), NotSaved> {
        let mut outcome = self.outcome.clone();
        let told = outcome.wait_for(Option::is_some).await;
        match told.ok().and_then(|it| it.clone()) {
            Some((Outcome::Saved(seq), epoch)) => Ok((Saved { seq }, epoch)),
            Some((Outcome::Refused(refusal), _)) => Err(NotSaved::Refused(refusal)),
            // The driver hands on the receipts of what was superseded, so this is the end of a driver.
            Some((Outcome::Superseded(_), _)) | None => Err(self.end.closed().into()),
        }
    }

    /// Waits until another device has told the broker that it has this, however long that takes: also while this client is
    /// offline, or that device. Drop the future to stop waiting.
    pub async fn seen_by(&self, device: DeviceId) -> Result<(), NotSeen> {
        let (saved, mut history) = self.saved_in().await?;
        let seq = saved.seq.ok_or(NotSeen::UnknownPlace)?;
        let has_it = |it: &Device| it.id == device && it.acked >= Some(seq);
        let Around {
            mut devices,
            mut epoch,
        } = self.around.clone();
        loop {
            let now = *epoch.borrow_and_update();
            // The answer may come before the first event, which brings the epoch.
            if history == Epoch::NONE {
                history = now;
            }
            if now != Epoch::NONE && now != history {
                return Err(NotSeen::OtherHistory);
            }
            if devices.borrow_and_update().iter().any(has_it) {
                return Ok(());
            }
            let moved = tokio::select! {
                moved = devices.changed() => moved,
                moved = epoch.changed() => moved,
            };
            moved.map_err(|_| NotSaved::Closed(self.end.closed()))?;
        }
    }
}
