use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::*;
use crate::history::tests::desk_without_data as desk;
use crate::history::{EraseRequest, LogRequest, Request};

fn erase() -> Request {
    let sync_id = "home".to_owned();
    Request::Erase(EraseRequest { sync_id, yes: true })
}

#[test]
fn a_running_broker_answers_and_a_stopped_one_is_not_there() {
    let data = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    assert!(!ask(data.path(), &erase(), &mut out).unwrap());
    let admin = Admin::start(data.path(), desk(), AdminOptions::default()).unwrap();
    assert!(ask(data.path(), &erase(), &mut out).unwrap());
    assert!(
        String::from_utf8(out)
            .unwrap()
            .starts_with("erased home: 0 streams")
    );
    admin.close();
    assert!(!ask(data.path(), &erase(), &mut Vec::new()).unwrap());
}

#[test]
fn only_the_owner_may_enter_and_a_dead_ones_socket_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(socket(data.path())).unwrap());
    assert!(!ask(data.path(), &erase(), &mut Vec::new()).unwrap());
    let admin = Admin::start(data.path(), desk(), AdminOptions::default()).unwrap();
    let mode = std::fs::metadata(socket(data.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    admin.close();
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let data = tempfile::tempdir().unwrap();
    let admin = Admin::start(data.path(), desk(), AdminOptions::default()).unwrap();
    let bad = Request::Log(LogRequest {
        device: Some("me".to_owned()),
        ..LogRequest::default()
    });
    let refused = ask(data.path(), &bad, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("\"me\""), "{refused}");
    let file = data.path().join("copy");
    let panicking = Request::Backup(crate::history::BackupRequest { file });
    let refused = ask(data.path(), &panicking, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("panicked"), "{refused}");
    assert!(ask(data.path(), &erase(), &mut Vec::new()).unwrap());
    admin.close();
}

#[test]
fn g10_garbage_and_too_many_requests_do_no_harm() {
    let data = tempfile::tempdir().unwrap();
    let options = AdminOptions {
        requests_max: 1,
        ..AdminOptions::default()
    };
    let admin = Admin::start(data.path(), desk(), options).unwrap();
    let said = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(socket(data.path())).unwrap();
        drop(stream.write_all(bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut text = String::new();
        // It may be cut off while it is still sending.
        drop(stream.read_to_string(&mut text));
        text
    };
    let answered = || ask(data.path(), &erase(), &mut Vec::new()).is_ok();
    // Whoever was answered may hold the only place for a moment longer.
    let served = || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answered() {
            assert!(Instant::now() < deadline, "nobody is served any more");
        }
    };
    assert!(said(b"hello\n").starts_with('!'));
    served();
    assert!(!said(&[b'x'; 100_000]).contains('='));
    served();
    let deadline = Instant::now() + Duration::from_secs(20);
    // One that says nothing holds the only place.
    let silent = UnixStream::connect(socket(data.path())).unwrap();
    while answered() {
        assert!(Instant::now() < deadline, "more are served than may be");
    }
    drop(silent);
    served();
    admin.close();
}
