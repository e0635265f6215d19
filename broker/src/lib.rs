//! The Syncline broker as a library; the binary `syncline` is a thin wrapper around it.
//!
//! The rooms stand in the order in which an event passes them; what is around them follows.

pub mod edge;
pub mod sequencer;

pub mod store;

pub mod router;

pub mod http;

pub mod cli;
pub mod config;
pub mod run;
pub mod startup;
