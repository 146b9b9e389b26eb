//! The plugin in a real Envoy: alone, as the example has it, and with a server's books.

mod example;
mod ledger;
mod plugin;
