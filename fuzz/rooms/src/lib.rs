//! Fuzzing of what is decoded outside the protocol crate: connections, rows, files, requests, and what a client hears.

mod client;
mod configuration;
mod edge;
mod history;
mod seeds;

pub use client::client_core;
pub use configuration::configuration;
pub use edge::{connection, connection_3, connection_5};
pub use history::{history_request, import, moment, schema_note, stored_entries};
pub use seeds::seeds;
pub use syncline_broker::fuzzing::{
    bus_frame, host_and_origin, journal_record, session, session_rows, table_rows,
};
pub use syncline_client::fuzzing::rows as client_rows;
