//! What becomes of what is on its way when other streams may be shown than before (G9).
//!
//! A subscription that names a stream stands still in it while that is hidden, and goes on from there should it be shown again.
//! One with wildcards forgets it, and begins in it anew.

use std::sync::Arc;
use std::time::Instant;

use syncline_protocol::StreamId;

use super::Delivery;
use super::needs::Purpose;
use crate::edge::sight::Sight;

impl Delivery {
    /// From now on this is what may be shown.
    pub(crate) fn see(&mut self, now: Instant, sight: Sight) {
        let before = std::mem::replace(&mut self.sight, sight);
        self.cursors.see(self.sight.clone());
        self.hide();
        self.show();
        let sight = &self.sight;
        self.snapshots
            .retain(|(stream, purpose)| sight.shows(stream) || stays(purpose));
        for (_, stream) in self.subs.of_states() {
            if self.sight.shows(&stream) && !before.shows(&stream) {
                self.states.changed(&Arc::new(stream), now);
            }
        }
    }

    /// What is not shown any more does not leave.
    fn hide(&mut self) {
        for mut message in std::mem::take(&mut self.outgoing) {
            if self.sight.shows_topic(&message.topic) {
                self.outgoing.push_back(message);
            } else if message.stays_with_those_that_name_it() {
                self.hidden.push_back(message);
            }
        }
    }

    /// What was hidden and is shown again goes first.
    fn show(&mut self) {
        let hidden = std::mem::take(&mut self.hidden).into_iter();
        let (shown, hidden) = hidden.partition(|it| self.sight.shows_topic(&it.topic));
        self.hidden = hidden;
        let later = std::mem::replace(&mut self.outgoing, shown);
        self.outgoing.extend(later);
    }

    /// A state was read that may not be shown any more.
    pub(super) fn put_aside(&mut self, stream: Arc<StreamId>, purpose: Purpose) {
        if stays(&purpose) {
            self.snapshots.push_back((stream, purpose));
        }
    }
}

/// Whether it is still wanted should the stream be shown again.
fn stays(purpose: &Purpose) -> bool {
    purpose.sub().is_some_and(|sub| !sub.filter.has_wildcard())
}
