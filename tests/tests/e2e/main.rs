//! The real binary, end to end, as its users meet it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod bus;
mod by_websocket;
mod collections;
mod copies;
mod counters;
mod differential;
mod epochs;
mod faults;
mod follower;
mod guide;
mod history;
mod hook;
mod horizon;
mod host;
mod hostile;
mod inside;
mod instruments;
mod limits;
mod network;
mod ordinary;
mod parts;
mod ports;
mod presence;
mod reload;
mod restart;
mod running;
mod scene;
mod sdk;
mod sensor;
mod sessions;
mod state;
mod stock;
mod strange;
mod tls;
mod tokens;
mod transports;
mod users;
mod versions;
mod views;
mod ways;
mod wildcards;
