//! Faults on demand, for tests and simulators: a wrapper that makes any store fail.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncline_protocol::{DeviceId, Seq, StreamId, SyncId, UnixMillis};

use super::{
    Append, Appended, Base, Committed, Erased, EventStore, Fold, Folded, Mark, Planted, ReadLimit,
    Receipt, StoreError, StoredEntry, StreamHead, Tell, Watch,
};

/// What goes wrong next. Clones share one plan.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

#[derive(Debug, Default)]
struct Plan {
    fail_before: usize,
    fail_after: usize,
    fail_sync: usize,
    fail_reads: usize,
    fail_folds: usize,
    panics: usize,
    held: bool,
    waiting: usize,
    appends: usize,
}

impl Faults {
    /// The next `appends` fail before anything is kept.
    pub fn fail_before(&self, appends: usize) {
        self.plan().fail_before = appends;
    }

    /// The next `appends` fail although they took effect: the unknown outcome.
    pub fn fail_after(&self, appends: usize) {
        self.plan().fail_after = appends;
    }

    /// The next `appends` fail as a failed sync does.
    pub fn fail_sync(&self, appends: usize) {
        self.plan().fail_sync = appends;
    }

    /// The next `reads` of heads and marks fail.
    pub fn fail_reads(&self, reads: usize) {
        self.plan().fail_reads = reads;
    }

    /// The next `folds` fail before anything is changed.
    pub fn fail_folds(&self, folds: usize) {
        self.plan().fail_folds = folds;
    }

    /// The next `appends` panic: the mistake that nobody knows yet.
    pub fn panic(&self, appends: usize) {
        self.plan().panics = appends;
    }

    /// Appends wait until [`Faults::release`].
    pub fn hold(&self) {
        self.plan().held = true;
    }

    /// Lets held appends go on.
    pub fn release(&self) {
        self.plan().held = false;
        self.plan.1.notify_all();
    }

    /// Returns once an append is being held.
    pub fn wait_until_held(&self) {
        let plan = self.plan();
        let waited = self.plan.1.wait_while(plan, |plan| plan.waiting == 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// How many appends were begun.
    pub fn appends(&self) -> usize {
        self.plan().appends
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before_append(&self) -> Result<(), StoreError> {
        let mut plan = self.plan();
        plan.appends += 1;
        plan.waiting += 1;
        self.plan.1.notify_all();
        let waited = self.plan.1.wait_while(plan, |plan| plan.held);
        let mut plan = waited.unwrap_or_else(PoisonError::into_inner);
        plan.waiting -= 1;
        assert!(!spend(&mut plan.panics), "a fault was injected");
        if spend(&mut plan.fail_sync) {
            return Err(StoreError::SyncFailed {
                file: "journal".into(),
                cause: "a fault was injected".to_owned(),
            });
        }
        fail_if(spend(&mut plan.fail_before))
    }

    fn after_append(&self) -> Result<(), StoreError> {
        fail_if(spend(&mut self.plan().fail_after))
    }

    fn before_fold(&self) -> Result<(), StoreError> {
        fail_if(spend(&mut self.plan().fail_folds))
    }

    fn before_read(&self) -> Result<(), StoreError> {
        fail_if(spend(&mut self.plan().fail_reads))
    }
}

fn spend(budget: &mut usize) -> bool {
    let due = *budget > 0;
    *budget = budget.saturating_sub(1);
    due
}

fn fail_if(due: bool) -> Result<(), StoreError> {
    if due {
        Err(StoreError::Injected)
    } else {
        Ok(())
    }
}

/// A store that fails as its [`Faults`] say.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

impl<S: EventStore> FaultyStore<S> {
    /// Wraps `inner`; keep a clone of `faults` to steer it.
    pub fn new(inner: S, faults: Faults) -> FaultyStore<S> {
        FaultyStore { inner, faults }
    }

    /// The store without its faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: EventStore> EventStore for FaultyStore<S> {
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        self.faults.before_append()?;
        let appended = self.inner.append(batches)?;
        self.faults.after_append()?;
        Ok(appended)
    }

    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        self.faults.before_read()?;
        self.inner.head(stream)
    }

    fn mark(&self, stream: &StreamId, device: DeviceId) -> Result<Option<Mark>, StoreError> {
        self.faults.before_read()?;
        self.inner.mark(stream, device)
    }

    fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Vec<Committed>, StoreError> {
        self.inner.read(stream, after, limit)
    }

    fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError> {
        self.inner.streams(after, limit)
    }

    fn position(&self) -> Result<u64, StoreError> {
        self.inner.position()
    }

    fn seq_at(&self, stream: &StreamId, position: u64) -> Result<Seq, StoreError> {
        self.inner.seq_at(stream, position)
    }

    fn base(&self, stream: &StreamId) -> Result<Base, StoreError> {
        self.inner.base(stream)
    }

    fn entries(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(StoredEntry),
    ) -> Result<Base, StoreError> {
        self.inner.entries(stream, each)
    }

    fn fold(&self, fold: Fold) -> Result<Folded, StoreError> {
        self.faults.before_fold()?;
        self.inner.fold(fold)
    }

    fn marks(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(DeviceId, Mark),
    ) -> Result<(), StoreError> {
        self.inner.marks(stream, each)
    }

    fn plant(&self, planted: Planted) -> Result<bool, StoreError> {
        self.inner.plant(planted)
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.note(name)
    }

    fn set_note(&self, name: &str, note: &[u8]) -> Result<(), StoreError> {
        self.inner.set_note(name, note)
    }

    fn forget_marks(&self, stream: &StreamId, before: UnixMillis) -> Result<usize, StoreError> {
        self.inner.forget_marks(stream, before)
    }

    fn erase(&self, sync_id: &SyncId) -> Result<Erased, StoreError> {
        self.inner.erase(sync_id)
    }

    fn when_dead(&self, tell: Tell) {
        self.inner.when_dead(tell);
    }

    fn watch(&self) -> Watch {
        self.inner.watch()
    }

    fn durable(&self) -> Receipt {
        self.inner.durable()
    }

    fn mark_window(&self) -> usize {
        self.inner.mark_window()
    }
}
