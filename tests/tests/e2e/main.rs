//! The real binary, end to end, as its users meet it.

mod instruments;
