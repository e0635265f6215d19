use super::*;
use syncline_client_core::{IntentId, WriteId};
use syncline_protocol::{DeviceId, State};

fn stream(sync_id: &str) -> StreamId {
    StreamId {
        sync_id: sync_id.parse().unwrap(),
        channel: None,
    }
}

fn owner(sync_id: &str) -> Owner {
    Owner {
        stream: stream(sync_id),
        user: None,
    }
}

fn job(write: Write) -> Job {
    Job {
        write: Some(write),
        ..Job::default()
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::parse(include_str!("../../../../config/schemas/music.toml")).unwrap())
}

fn device() -> DeviceRow {
    DeviceRow {
        next_device_seq: DeviceSeq::new(3).unwrap(),
        offered: DeviceSeq::new(2),
        clock: Clock {
            timestamp: UnixMillis::new(1_700_000_000_000),
            counter: 4,
        },
        ..DeviceRow::new(DeviceId::from_bytes([7; 16]))
    }
}

fn row(id: u64) -> Row {
    let mut intent = Intent::new(
        "star_album".parse().unwrap(),
        crate::map([("album_id", "a1")]),
    );
    intent.device = Some(DeviceId::from_bytes([7; 16]));
    intent.device_seq = DeviceSeq::new(id);
    Row {
        id: IntentId::new(id),
        intent,
        saw: None,
        overtaken: false,
    }
}

fn saw() -> Saw {
    Saw::Entry {
        changed: syncline_protocol::Seq::new(7).unwrap(),
        device: DeviceId::from_bytes([8; 16]),
        clock: device().clock,
        removed: true,
    }
}

fn write(n: u64) -> Write {
    Write {
        id: WriteId::new(n),
        device: None,
        intents: Vec::new(),
        replica: None,
        schema: None,
        delete: Vec::new(),
    }
}

#[test]
fn store_1_what_was_written_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, Contents { stored, .. }) = FileStore::open(&path, &owner("a")).unwrap();
    assert!(stored.is_none());
    let replica = Snapshot::of(&State::new(schema()), stream("a"), Default::default());
    let (mut seen, mut overtaken) = (row(3), row(4));
    seen.saw = Some(saw());
    (overtaken.saw, overtaken.overtaken) = (Some(Saw::Nothing), true);
    let first = Write {
        device: Some(device()),
        intents: vec![row(1), row(2), seen.clone(), overtaken.clone()],
        ..write(1)
    };
    let (replica, schema) = (Some(replica), Some(schema()));
    let second = Write {
        replica: replica.clone(),
        schema,
        delete: vec![IntentId::new(1)],
        ..write(2)
    };
    store.write(&[job(first), job(second)]).unwrap();
    drop(store);
    let (_store, Contents { stored, .. }) = FileStore::open(&path, &owner("a")).unwrap();
    let stored = stored.unwrap();
    assert_eq!(stored.device, device());
    assert_eq!(stored.intents, [row(2), seen, overtaken]);
    assert_eq!(stored.replica, replica);
    assert_eq!(stored.schema.unwrap().hash(), super::tests::schema().hash());
}

#[test]
fn a_file_in_use_or_of_another_stream_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, _) = FileStore::open(&path, &owner("a")).unwrap();
    assert!(matches!(
        FileStore::open(&path, &owner("a")),
        Err(StoreError::InUse(_))
    ));
    drop(store);
    let other = FileStore::open(&path, &owner("b"));
    assert!(matches!(other, Err(StoreError::OtherStream { .. })));
}

#[test]
fn a_newer_format_and_a_damaged_row_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, _) = FileStore::open(&path, &owner("a")).unwrap();
    let put = |store: &FileStore, name: &str, bytes: &[u8]| {
        let transaction = store.database.begin_write().unwrap();
        transaction
            .open_table(ROWS)
            .unwrap()
            .insert(name, bytes)
            .unwrap();
        transaction.commit().unwrap();
    };
    put(&store, "device", b"?");
    drop(store);
    let damaged = FileStore::open(&path, &owner("a")).unwrap_err();
    assert!(
        damaged.to_string().contains("row device is damaged"),
        "{damaged}"
    );
    let database = Database::create(&path).unwrap();
    let store = FileStore {
        path: path.clone(),
        database,
    };
    put(&store, "format", b"syncline outbox 3");
    drop(store);
    assert!(matches!(
        FileStore::open(&path, &owner("a")),
        Err(StoreError::Format(_))
    ));
}

#[test]
fn store_5_a_file_of_format_1_is_read_and_becomes_one_of_format_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, _) = FileStore::open(&path, &owner("a")).unwrap();
    let first = Write {
        device: Some(device()),
        ..write(1)
    };
    store.write(&[job(first)]).unwrap();
    let transaction = store.database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(ROWS).unwrap();
        rows.insert("format", FORMAT_1).unwrap();
        let mut intents = transaction.open_table(INTENTS).unwrap();
        intents
            .insert(2, row(2).intent.encode().as_slice())
            .unwrap();
    }
    transaction.commit().unwrap();
    drop(store);
    for _ in 0..2 {
        let (_store, Contents { stored, .. }) = FileStore::open(&path, &owner("a")).unwrap();
        assert_eq!(stored.unwrap().intents, [row(2)]);
    }
}
