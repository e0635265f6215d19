//! Sessions on disk.

use tempfile::TempDir;

use crate::store::EventStore;

use super::*;
use crate::store::redb::applier::Applier;
use crate::store::redb::simulated::{Failure, SimDisk};
use crate::store::redb::tables;
use crate::store::redb::tests::options;
use crate::store::sessions::contract::{
    SessionHarness, key, session, session_contract_suite, subscription,
};

struct OnDisk {
    directory: TempDir,
    store: Option<RedbStore>,
}

impl OnDisk {
    fn new() -> OnDisk {
        let directory = TempDir::new().unwrap();
        let store = Some(RedbStore::open(directory.path(), &options()).unwrap());
        OnDisk { directory, store }
    }
}

impl SessionHarness for OnDisk {
    fn store(&self) -> &dyn SessionStore {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(RedbStore::open(self.directory.path(), &options()).unwrap());
    }
}

session_contract_suite!(OnDisk::new());

fn open(media: &SimDisk) -> Result<RedbStore, StoreError> {
    RedbStore::open_on(media, &options(), Applier::start)
}

const WRITES: usize = 4;

/// How many writes were acknowledged before the power was lost.
fn work_until_power_loss(media: &SimDisk) -> usize {
    let Ok(store) = open(media) else {
        return 0;
    };
    let writes = (0..WRITES).take_while(|at| {
        store.write(&one_session(*at)).unwrap();
        !media.power_is_lost()
    });
    writes.count()
}

fn one_session(at: usize) -> Vec<SessionChange> {
    let name = format!("client-{at:03}");
    vec![
        SessionChange::Begin(session(&name)),
        SessionChange::Subscribe(key(&name), subscription("sync/#")),
    ]
}

fn check_power_loss(step: u64) {
    let media = SimDisk::new();
    media.lose_power_at(step);
    let acknowledged = work_until_power_loss(&media);
    let mut survives = step.is_multiple_of(2);
    let media = media.crash(|| {
        survives = !survives;
        survives
    });
    let store = open(&media).unwrap();
    let found = store.sessions(None, usize::MAX).unwrap();
    assert!(
        found.len() >= acknowledged,
        "step {step}: {} found",
        found.len()
    );
    for session in &found {
        let loaded = store.load(&session.key).unwrap().unwrap();
        assert_eq!(
            loaded.subscriptions,
            [subscription("sync/#")],
            "step {step}"
        );
    }
    store.write(&one_session(found.len())).unwrap();
}

#[test]
fn g12_what_was_written_outlives_a_power_loss_at_every_step_whole() {
    let media = SimDisk::new();
    assert_eq!(work_until_power_loss(&media), WRITES);
    (1..=media.steps()).for_each(check_power_loss);
}

#[test]
fn erasing_a_group_reaches_the_sessions() {
    let harness = OnDisk::new();
    let store = harness.store.as_ref().unwrap();
    let follow = SessionChange::Subscribe(key("client-000"), subscription("sync/home/state"));
    SessionStore::write(store, &one_session(0)).unwrap();
    SessionStore::write(store, &[follow]).unwrap();
    EventStore::erase(store, &"home".parse().unwrap()).unwrap();
    let loaded = store.load(&key("client-000")).unwrap().unwrap();
    assert_eq!(loaded.subscriptions, [subscription("sync/#")]);
}

#[test]
fn a_disk_that_refuses_is_named_and_changes_nothing() {
    let media = SimDisk::new();
    let store = open(&media).unwrap();
    store.write(&one_session(0)).unwrap();
    media.fail(tables::FILE, Failure::Write);
    let large = vec![one_session(1); 2_000].concat();
    let error = store.write(&large).unwrap_err();
    assert!(error.to_string().contains(tables::FILE), "{error}");
    media.fail("nothing", Failure::Write);
    assert_eq!(store.sessions(None, 9).unwrap().len(), 1);
    store.write(&one_session(1)).unwrap();
    assert_eq!(store.sessions(None, 9).unwrap().len(), 2);
}
