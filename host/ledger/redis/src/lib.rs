//! The ledger in Redis or Valkey: one for many gateways.
