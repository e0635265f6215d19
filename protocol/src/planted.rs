//! Mistakes on purpose: each is one line where the rule would be kept, and the simulator has to notice every one of them.
//! Without the feature `planted-faults` nothing is ever planted, and the compiler drops the lines.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A mistake that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Planted {
    /// A failed commit is acknowledged (G1).
    AckBeforeCommit = 1,
    /// A repeat is acknowledged although the commit of its first copy failed (G4).
    RepeatBeforeDurable,
    /// What the store remembers of a device is not read (EVENT-10).
    DroppedMark,
    /// After a transient failure later events of the connection are still taken (ANSWER-4).
    LaneNotBroken,
    /// An event below the horizon is taken (HORIZON-2).
    SkippedOvertakenCheck,
    /// A horizon is in force and not on disk (HORIZON-1).
    HorizonNotJournaled,
    /// A tombstone is collected while events that are kept may not have seen it (HORIZON-5).
    TombstoneTooEarly,
    /// A delta is given from below a collected tombstone (SNAP-3).
    DeltaBelowFloor,
    /// A cursor beyond the head begins no epoch (EPOCH-1).
    EpochKept,
    /// After an opening the events go on where the bus is, not where the state ends (G3).
    WrongSplice,
    /// A subscription's cursor moves past an event that does not fit the client's window (G3).
    CursorPastUnsent,
    /// Clocks decide between events of which one saw the other (STATE-2).
    ClockBeforeCausality,
    /// A removal leaves the digest as it was (DIGEST-2).
    DigestNotUpdatedOnRemoval,
    /// A publish is told stored before it is (STORE-1).
    StoredBeforeDurable,
    /// What the horizon overtook is sent anew although its entry has changed (REFUSE-5).
    RenewedUnseen,
    /// What the horizon overtook is sent anew under the number that it had (OUTBOX-12).
    RenewedUnderItsNumber,
    /// What was on its way when a connection ended is not sent again (OUTBOX-7).
    SentForgotten,
    /// An opening is the full state although less would do (SNAP-7).
    OpeningAlwaysFull,
    /// A session counts as acknowledged what was only sent (SESSION-2).
    CursorAheadOfAcks,
    /// The state as of a seq is the one of the head (VIEW-7).
    HeadForPast,
}

impl Planted {
    /// All of them.
    pub const ALL: &[Planted] = &[
        Planted::AckBeforeCommit,
        Planted::RepeatBeforeDurable,
        Planted::DroppedMark,
        Planted::LaneNotBroken,
        Planted::SkippedOvertakenCheck,
        Planted::HorizonNotJournaled,
        Planted::TombstoneTooEarly,
        Planted::DeltaBelowFloor,
        Planted::EpochKept,
        Planted::WrongSplice,
        Planted::CursorPastUnsent,
        Planted::ClockBeforeCausality,
        Planted::DigestNotUpdatedOnRemoval,
        Planted::StoredBeforeDurable,
        Planted::SentForgotten,
        Planted::RenewedUnseen,
        Planted::RenewedUnderItsNumber,
        Planted::OpeningAlwaysFull,
        Planted::CursorAheadOfAcks,
        Planted::HeadForPast,
    ];
}

/// The chosen one; 0 is none.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Plants one mistake in this process, in place of the one before. Only with the feature `planted-faults` it matters.
pub fn plant(mistake: Option<Planted>) {
    CHOSEN.store(mistake.map_or(0, |it| it as usize), Ordering::Relaxed);
}

/// Whether this mistake is to be made.
pub fn planted(mistake: Planted) -> bool {
    cfg!(feature = "planted-faults") && CHOSEN.load(Ordering::Relaxed) == mistake as usize
}
