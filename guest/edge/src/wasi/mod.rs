//! What every platform of `wasi:http` 0.3 has: requests and answers both ways, clocks, randomness.

mod client;
mod clock;
mod incoming;
mod instance;
mod outgoing;
mod patience;

pub use self::client::Wasi as WasiClient;
pub use self::clock::Wasi as WasiClock;
pub use self::instance::{Kept, failed, handle, loaded};
pub use self::patience::{PATIENCE, insist, within};
