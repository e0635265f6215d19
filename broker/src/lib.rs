//! Syncline's broker as a library; the binary `syncline` is a thin wrapper around it.
//!
//! The rooms stand in the order of the one way through (edge → sequencer → store → router → edge); what is made from
//! them and what is around them follows. ARCHITECTURE.md is the map, [`run::Broker`] the way in.

pub mod acl;
pub mod auth;
pub mod transport;

pub mod edge;
pub mod sequencer;

pub mod store;

pub mod compactor;
pub mod router;

pub mod http;

pub mod admin;
pub mod history;

pub mod cli;
pub mod commands;
pub mod config;
mod listeners;
pub mod run;
pub mod startup;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

#[cfg(test)]
mod history_tests;
