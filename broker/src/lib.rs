//! The Syncline broker as a library; the binary `syncline` is a thin wrapper around it.

pub mod cli;
pub mod config;
pub mod http;
pub mod router;
pub mod run;
pub mod startup;
pub mod store;
