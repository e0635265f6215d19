//! The broker as a library.

pub mod edge;
pub mod sequencer;
pub mod store;

pub mod compactor;
pub mod router;
