//! What holds over TCP holds over WebSocket: the raw-wire scenarios once more, in a run of their own in which every client of
//! [`syncline_tests::wire`] goes by the broker's WebSocket.

use std::env;
use std::process::Command;

use syncline_tests::wire::BY_WEBSOCKET;

/// The modules whose scenarios are said in packets.
const SCENARIOS: [&str; 6] = [
    "answers::",
    "ordinary::",
    "sessions::",
    "strange::",
    "views::",
    "wildcards::",
];

#[test]
fn mqtt_6_0_0_what_holds_over_tcp_holds_over_websocket() {
    if env::var_os(BY_WEBSOCKET).is_some() {
        return;
    }
    let mut run = Command::new(env::current_exe().unwrap());
    run.args(SCENARIOS);
    let output = run.env(BY_WEBSOCKET, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let passed = said.split("test result: ok. ").nth(1);
    let passed = passed.and_then(|it| it.split(' ').next()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|it| it > 60), "{said}");
}
