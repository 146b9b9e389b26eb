//! The gateway in this process: with many clients, with upstreams that do anything, with a policy that does.

mod hostile;
mod load;
mod upstreams;
