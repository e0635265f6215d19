//! Fuzzing of every decoder: what is promised for any bytes, and what to begin with.

mod seeds;
mod targets;
mod write;

pub use seeds::seeds;
pub use targets::*;
pub use write::write;
