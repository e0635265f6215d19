//! A file and an environment of the broker.

use std::fs;
use std::process;

use syncline_broker::config::{DEFAULTS, Environment, Flags, load};

/// A file, and behind a zero variables, a line each: understood, or refused with a reason.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // What is named there is opened, and a device may never end.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let lines = variables.lines().filter_map(|line| line.split_once('='));
    let environment: Environment = lines
        .map(|(name, value)| (format!("SYNCLINE__{name}"), value.to_owned()))
        .collect();
    let path = std::env::temp_dir().join(format!("syncline-fuzz-{}.toml", process::id()));
    fs::write(&path, file).expect("a temporary file");
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    if let Err(error) = load(&flags, &environment) {
        assert!(!error.to_string().is_empty());
    }
}

/// The file that is shipped, whole and in parts, and variables.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let sections = DEFAULTS.split("\n[").map(|it| match it.starts_with('[') {
        true => it.to_owned(),
        false => format!("[{it}"),
    });
    let others = [
        "[history.channels.\"jam.room\"]\nmax_events = 5\nmax_age_ms = 3600000\n",
        "\0MQTT__ADDRESS=127.0.0.1:1\nHISTORY__MAX_EVENTS=9\nHTTP__ALLOWED_HOSTS=a,b\n",
    ];
    let others = others.map(str::to_owned);
    sections.chain(others).map(String::into_bytes).collect()
}
