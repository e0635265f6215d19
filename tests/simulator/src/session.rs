//! What a plain client knows of the session that the broker keeps for it, and what has to be true of it (SESSION-1 … 3).

use std::collections::BTreeMap;

use syncline_protocol::{Event, Seq, StreamId};

use crate::broker::SESSION_EXPIRY_S_MAX;

/// How exactly the moment is known at which the broker learns of something.
const ABOUT_MS: u64 = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Seconds; 0: the client keeps none.
    pub(crate) expiry_s: u32,
    /// A SUBACK said that its subscriptions are on disk, so many.
    pub(crate) subscribed: usize,
    /// It goes on on this connection.
    pub(crate) resumed: bool,
    left: Option<Left>,
    /// The first that the broker let go of since the client last heard of the session.
    first_left: Option<Left>,
    /// A CONNECT has no answer.
    unanswered: bool,
    /// When the CONNECT was sent.
    asked_at: u64,
    /// Up to where the broker has heard that the client has everything, and it did not crash since.
    heard: BTreeMap<StreamId, Seq>,
    /// Up to where events were shown on earlier connections to a broker that did not crash since.
    shown: BTreeMap<StreamId, Seq>,
}

/// Which of the broker's clocks: the next one after each jump. Two readings tell how long something took only by one clock,
/// and a clock that jumped and came back is not the same, because sessions ended by the one in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clock(u64);

impl Clock {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// When the broker noticed that the client is gone, at the earliest and at the latest.
#[derive(Debug, Clone, Copy)]
struct Left {
    earliest: u64,
    latest: u64,
    clock: Clock,
}

impl Session {
    /// The client connects. Whether it begins anew.
    pub(crate) fn connects(&mut self, now: u64, clock: Clock, anew: bool) -> bool {
        self.asked_at = now;
        self.resumed = false;
        // If it ended meanwhile, another one began, and who did not hear of that takes it for the old one.
        let left = self.first_left.filter(|_| self.unanswered);
        let doubtful = left.is_some_and(|left| {
            left.clock != clock || now + ABOUT_MS > left.earliest + self.expiry_ms()
        });
        self.unanswered = true;
        if anew || doubtful || self.expiry_s == 0 || self.subscribed == 0 {
            self.ends();
        }
        self.subscribed == 0
    }

    /// Nothing of it is there any more.
    pub(crate) fn ends(&mut self) {
        self.subscribed = 0;
        (self.left, self.first_left) = (None, None);
        self.heard.clear();
        self.shown.clear();
    }

    fn expiry_ms(&self) -> u64 {
        u64::from(self.expiry_s.min(SESSION_EXPIRY_S_MAX)) * 1_000
    }

    /// The client hears of it.
    pub(crate) fn is_answered(&mut self) {
        self.unanswered = false;
        (self.left, self.first_left) = (None, None);
    }

    /// SESSION-1, SESSION-3: whether it is there when it has to be, and gone when it has to be gone.
    pub(crate) fn is_present(&self, present: bool, now: u64, clock: Clock) -> Result<(), String> {
        let expiry_ms = self.expiry_ms();
        if self.subscribed == 0 {
            return match present {
                true => Err("SESSION-1: a clean start finds a session".to_owned()),
                false => Ok(()),
            };
        }
        // Where nothing is known of how it left before it asked, it did not.
        let known = |left: &Left| left.clock == clock && left.latest <= self.asked_at;
        let Some(left) = self.left.filter(known) else {
            return Ok(());
        };
        let away = (
            now.saturating_sub(left.earliest),
            self.asked_at.saturating_sub(left.latest),
        );
        if !present && away.0 + ABOUT_MS < expiry_ms {
            return Err(format!(
                "SESSION-3: a session of {expiry_ms} ms is gone after {} ms",
                away.0
            ));
        }
        if present && away.1 > expiry_ms + ABOUT_MS {
            return Err(format!(
                "SESSION-1: a session of {expiry_ms} ms is there after {} ms",
                away.1
            ));
        }
        Ok(())
    }

    /// The broker has noticed that the client is gone, at `earliest` or since.
    pub(crate) fn left(&mut self, earliest: u64, now: u64, clock: Clock) {
        let left = Left {
            earliest,
            latest: now,
            clock,
        };
        self.left = Some(left);
        self.first_left.get_or_insert(left);
    }

    /// The broker's process is gone. `connected`: with a connection of this client.
    pub(crate) fn crashed(&mut self, now: u64, clock: Clock, connected: bool) {
        if connected {
            self.left(now, now, clock);
        }
        self.heard.clear();
        self.shown.clear();
    }

    /// A new process: whoever was connected to the one before left now.
    pub(crate) fn restarted(&mut self, now: u64) {
        if let Some(left) = &mut self.left {
            left.latest = now;
        }
    }

    /// What its last connection showed, up to here.
    pub(crate) fn was_shown(&mut self, stream: &StreamId, seq: Seq) {
        let shown = self.shown.entry(stream.clone()).or_default();
        *shown = seq.max(*shown);
    }

    /// An acknowledgement has reached the broker.
    pub(crate) fn was_heard(&mut self, stream: StreamId, seq: Seq) {
        let heard = self.heard.entry(stream).or_default();
        *heard = seq.max(*heard);
    }

    /// SESSION-2: what comes again is what may not have arrived, and says so.
    pub(crate) fn takes(&self, event: &Event, dup: bool) -> Result<(), String> {
        let (stream, seq) = (&event.stream, event.seq);
        let up_to = |seqs: &BTreeMap<StreamId, Seq>| seqs.get(stream).copied().unwrap_or_default();
        if dup && !self.resumed {
            return Err(format!("G3: {stream}: {seq} has DUP in a new session"));
        }
        if self.resumed && seq <= up_to(&self.heard) {
            return Err(format!(
                "SESSION-2: {stream}: {seq} comes again, and it was acknowledged"
            ));
        }
        if self.resumed && seq <= up_to(&self.shown) && !dup {
            return Err(format!(
                "SESSION-2: {stream}: {seq} comes again without DUP"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const CLOCK: Clock = Clock(0);

    /// Subscribed, and left by the broker's word at 100 s.
    fn left_at_100() -> Session {
        let mut session = Session {
            expiry_s: 60,
            subscribed: 1,
            ..Session::default()
        };
        session.is_answered();
        session.left(100 * SECOND, 100 * SECOND, CLOCK);
        session
    }

    #[test]
    fn session_1_it_is_there_before_its_time_is_over_and_gone_after() {
        for (away, present, is_right) in [
            (30, true, true),
            (30, false, false),
            (90, true, false),
            (90, false, true),
        ] {
            let mut session = left_at_100();
            let now = (100 + away) * SECOND;
            assert!(!session.connects(now, CLOCK, false));
            assert_eq!(
                session.is_present(present, now, CLOCK).is_ok(),
                is_right,
                "{present} after {away} s"
            );
        }
    }

    #[test]
    fn session_1_who_did_not_hear_whether_it_ended_begins_anew() {
        let mut session = left_at_100();
        assert!(!session.connects(170 * SECOND, CLOCK, false));
        session.left(171 * SECOND, 171 * SECOND, CLOCK);
        assert!(session.connects(172 * SECOND, CLOCK, false));
    }

    #[test]
    fn session_3_a_clock_that_jumped_ends_sessions_before_their_time() {
        let mut session = left_at_100();
        let jumped = CLOCK.next();
        assert!(!session.connects(130 * SECOND, jumped, false));
        assert_eq!(session.is_present(false, 130 * SECOND, jumped), Ok(()));
    }
}
