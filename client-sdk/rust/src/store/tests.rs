use super::*;
use syncline_client_core::{IntentId, WriteId};
use syncline_protocol::{DeviceId, State};

fn stream(sync_id: &str) -> StreamId {
    StreamId {
        sync_id: sync_id.parse().unwrap(),
        channel: None,
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
    let (store, stored) = FileStore::open(&path, &stream("a")).unwrap();
    assert!(stored.is_none());
    let replica = Snapshot::of(&State::new(schema()), stream("a"), Default::default());
    let first = Write {
        device: Some(device()),
        intents: vec![row(1), row(2)],
        ..write(1)
    };
    let (replica, schema) = (Some(replica), Some(schema()));
    let second = Write {
        replica: replica.clone(),
        schema,
        delete: vec![IntentId::new(1)],
        ..write(2)
    };
    store.write(&[first, second]).unwrap();
    drop(store);
    let (_store, stored) = FileStore::open(&path, &stream("a")).unwrap();
    let stored = stored.unwrap();
    assert_eq!(stored.device, device());
    assert_eq!(stored.intents, [row(2)]);
    assert_eq!(stored.replica, replica);
    assert_eq!(stored.schema.unwrap().hash(), super::tests::schema().hash());
}

#[test]
fn a_file_in_use_or_of_another_stream_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, _) = FileStore::open(&path, &stream("a")).unwrap();
    assert!(matches!(
        FileStore::open(&path, &stream("a")),
        Err(StoreError::InUse(_))
    ));
    drop(store);
    let other = FileStore::open(&path, &stream("b"));
    assert!(matches!(other, Err(StoreError::OtherStream { .. })));
}

#[test]
fn a_newer_format_and_a_damaged_row_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let (store, _) = FileStore::open(&path, &stream("a")).unwrap();
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
    let damaged = FileStore::open(&path, &stream("a")).unwrap_err();
    assert!(
        damaged.to_string().contains("row device is damaged"),
        "{damaged}"
    );
    let database = Database::create(&path).unwrap();
    let store = FileStore {
        path: path.clone(),
        database,
    };
    put(&store, "format", b"syncline outbox 2");
    drop(store);
    assert!(matches!(
        FileStore::open(&path, &stream("a")),
        Err(StoreError::Format(_))
    ));
}
