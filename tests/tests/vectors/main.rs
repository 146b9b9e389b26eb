//! What is proven by many cases: the vectors through every runtime (see `vectors/README.md`), their streams split
//! anyhow, their configurations changed anyhow, and what the component is by its type.

mod component;
mod configurations;
mod envoy;
mod host;
mod policy;
mod portable;
mod spin;
mod splits;
