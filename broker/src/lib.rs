//! Syncline's broker: an MQTT broker that also orders, stores, merges and compacts what it carries.
//!
//! The rooms stand in the order of the one way through: edge → sequencer → store → router → edge. ARCHITECTURE.md is
//! the map.

pub mod edge;
pub mod sequencer;
pub mod store;

pub mod compactor;
pub mod router;
