//! The command `tollgate`: as a process, with its files, its clock and its Redis, and what happens when these fail.

mod clocks;
mod crashes;
mod disks;
mod keys;
mod ledger_api;
mod prices;
mod process;
