use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::*;
use crate::history::tests::desk_without_data;
use crate::history::{BackUp, BackupRequest, Desk, EraseRequest, LogRequest, Request, Stop};

const SOON: Duration = Duration::from_secs(20);

fn desk() -> Arc<Desk> {
    desk_without_data(Box::new(|_, _| panic!("a bug")))
}

fn backup() -> Request {
    let file = PathBuf::from("/nowhere/copy");
    Request::Backup(BackupRequest { file })
}

/// A socket on which a backup is under way, as long as `work` takes.
fn at_work(work: BackUp, options: AdminOptions) -> (tempfile::TempDir, Admin, Asker) {
    let data = tempfile::tempdir().unwrap();
    let (begin, begun) = mpsc::channel();
    let begin = Mutex::new(begin);
    let desk = desk_without_data(Box::new(move |file, stop| {
        begin.lock().unwrap().send(()).unwrap();
        work(file, stop)
    }));
    let admin = Admin::start(data.path(), desk, options).unwrap();
    let path = data.path().to_owned();
    let asker = thread::spawn(move || ask(&path, &backup(), &mut Vec::new()));
    begun.recv_timeout(SOON).unwrap();
    (data, admin, asker)
}

type Asker = JoinHandle<Result<bool, AskError>>;

/// Work that ends with the sender, and not before.
fn until_dropped(end: Receiver<()>) -> BackUp {
    let end = Mutex::new(end);
    Box::new(move |_, _| {
        let _ = end.lock().unwrap().recv();
        Ok(())
    })
}

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
    admin.close(SOON);
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
    admin.close(SOON);
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
    let refused = ask(data.path(), &backup(), &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("panicked"), "{refused}");
    assert!(ask(data.path(), &erase(), &mut Vec::new()).unwrap());
    admin.close(SOON);
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
    admin.close(SOON);
}

#[test]
fn g10_more_requests_than_may_be_are_refused() {
    let options = AdminOptions {
        requests_max: 1,
        ..AdminOptions::default()
    };
    let (end, ends) = mpsc::channel();
    let (data, admin, asker) = at_work(until_dropped(ends), options);
    let refused = ask(data.path(), &erase(), &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("too many"), "{refused}");
    drop(end);
    assert!(asker.join().unwrap().unwrap());
    admin.close(SOON);
}

#[test]
fn g10_idle_connections_do_not_lock_the_owner_out() {
    let data = tempfile::tempdir().unwrap();
    let options = AdminOptions {
        request_within: 10 * SOON,
        ..AdminOptions::default()
    };
    let admin = Admin::start(data.path(), desk(), options).unwrap();
    let connect = |_| UnixStream::connect(socket(data.path())).unwrap();
    let mut idle: Vec<_> = (0..2 * options.requests_max).map(connect).collect();
    let begun = Instant::now();
    assert!(ask(data.path(), &erase(), &mut Vec::new()).unwrap());
    let mut told = String::new();
    idle[0].read_to_string(&mut told).unwrap();
    assert!(told.contains("others came"), "{told}");
    // Nor do they keep the broker from ending.
    admin.close(SOON);
    assert!(begun.elapsed() < SOON);
}

#[test]
fn g10_a_request_that_comes_byte_by_byte_is_no_request() {
    let data = tempfile::tempdir().unwrap();
    let options = AdminOptions {
        request_within: Duration::from_millis(50),
        ..AdminOptions::default()
    };
    let admin = Admin::start(data.path(), desk(), options).unwrap();
    let mut slow = UnixStream::connect(socket(data.path())).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    let deadline = Instant::now() + SOON;
    let mut told = [0; 64];
    let length = loop {
        assert!(Instant::now() < deadline, "its patience has no end");
        // Nothing to be read until it is told.
        match slow.read(&mut told) {
            Ok(length) => break length,
            Err(_) => drop(slow.write_all(b" ")),
        }
    };
    let told = String::from_utf8_lossy(&told[..length]);
    assert!(told.starts_with("!the request did not come"), "{told}");
    admin.close(SOON);
}

#[test]
fn g10_a_piece_that_is_taken_byte_by_byte_is_not_waited_for() {
    let (broker, mut client) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Answer::new(
        Arc::new(broker),
        &Stop::default(),
        Duration::from_millis(50),
    );
    let (tell, told) = mpsc::channel();
    let writing = thread::spawn(move || {
        let piece = [b'x'; 64 << 10];
        let mut written = (0..10_000).map(|_| answer.write_all(&piece));
        tell.send(written.find_map(Result::err)).unwrap();
    });
    let begun = Instant::now();
    let late = loop {
        assert!(begun.elapsed() < SOON, "its patience has no end");
        match told.recv_timeout(Duration::from_millis(5)) {
            Ok(late) => break late,
            Err(_) => drop(client.read(&mut [0; 1 << 10])),
        }
    };
    let late = late.expect("so much does not fit between two ends");
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    writing.join().unwrap();
}

#[test]
fn a_request_under_way_stops_at_the_end_of_the_broker_and_says_so() {
    let work: BackUp = Box::new(|_, stop| {
        let deadline = Instant::now() + 2 * SOON;
        while Instant::now() < deadline {
            stop.check().map_err(|error| error.to_string())?;
            thread::yield_now();
        }
        Ok(())
    });
    let (_data, admin, asker) = at_work(work, AdminOptions::default());
    let begun = Instant::now();
    admin.close(SOON);
    assert!(begun.elapsed() < SOON / 2, "it was not told, but cut");
    let refused = asker.join().unwrap().unwrap_err();
    assert!(refused.to_string().contains("shutting down"), "{refused}");
}

#[test]
fn a_request_that_does_not_stop_is_left_behind_in_time() {
    let (end, ends) = mpsc::channel();
    let (_data, admin, asker) = at_work(until_dropped(ends), AdminOptions::default());
    let begun = Instant::now();
    admin.close(Duration::from_millis(100));
    assert!(begun.elapsed() < SOON);
    assert!(matches!(asker.join().unwrap(), Err(AskError::Cut)));
    drop(end);
}
