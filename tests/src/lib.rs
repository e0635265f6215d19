//! What the end-to-end tests, the fault tests and the measurements share: the real binary in a
//! folder of its own, stock clients, and a client that shows every packet as it was.
//!
//! Nothing here sleeps for luck: whoever waits, waits for a condition with a deadline ([`wait`]).

pub mod authority;
pub mod broker;
pub mod dice;
pub mod fault_proxy;
pub mod guide;
pub mod hostile;
pub mod http;
pub mod mosquitto;
pub mod ports;
pub mod process;
pub mod star;
pub mod stock_broker;
pub mod token;
pub mod wait;
pub mod wire;
