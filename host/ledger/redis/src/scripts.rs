//! The Lua scripts, one for each operation: the only code that changes the shared books.
//!
//! Each applies the rules of `tollgate-ledger` to cells kept as the lines that crate writes, in one atomic step. A
//! script names no key of its own and is never put together from a caller's text: keys and values are arguments.

use std::sync::LazyLock;

use redis::Script;

/// Every script, by its operation.
pub struct Scripts {
    pub reserve: Script,
    pub raise: Script,
    pub settle: Script,
    pub record: Script,
    pub renew: Script,
    pub shorten: Script,
    pub due: Script,
    pub expire: Script,
    pub standings: Script,
    pub ask: Script,
    pub tell: Script,
    pub keep_key: Script,
    pub keep_scope: Script,
    pub find: Script,
}

const NUMBERS: &str = include_str!("lua/numbers.lua");
const HOLDS: &str = concat!(include_str!("lua/parts.lua"), include_str!("lua/holds.lua"));
const LEASE: &str = include_str!("lua/lease.lua");
const BREAKER: &str = include_str!("lua/breaker.lua");
const CELLS: &str = concat!(
    include_str!("lua/window.lua"),
    include_str!("lua/budget.lua"),
    include_str!("lua/slots.lua"),
    include_str!("lua/cells.lua"),
);

/// The scripts; they are put together once.
pub static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    reserve: script(&[NUMBERS, CELLS, HOLDS, include_str!("lua/reserve.lua")]),
    raise: script(&[NUMBERS, CELLS, HOLDS, LEASE, include_str!("lua/raise.lua")]),
    settle: script(&[NUMBERS, CELLS, HOLDS, include_str!("lua/settle.lua")]),
    record: script(&[NUMBERS, CELLS, HOLDS, include_str!("lua/record.lua")]),
    renew: script(&[NUMBERS, CELLS, HOLDS, LEASE, include_str!("lua/renew.lua")]),
    shorten: script(&[NUMBERS, CELLS, HOLDS, LEASE, include_str!("lua/shorten.lua")]),
    due: script(&[NUMBERS, include_str!("lua/due.lua")]),
    expire: script(&[NUMBERS, HOLDS, include_str!("lua/expire.lua")]),
    standings: script(&[NUMBERS, CELLS, include_str!("lua/standings.lua")]),
    ask: script(&[NUMBERS, BREAKER, include_str!("lua/ask.lua")]),
    tell: script(&[NUMBERS, BREAKER, include_str!("lua/tell.lua")]),
    keep_key: script(&[include_str!("lua/keep_key.lua")]),
    keep_scope: script(&[include_str!("lua/keep_scope.lua")]),
    find: script(&[include_str!("lua/find.lua")]),
});

fn script(parts: &[&str]) -> Script {
    Script::new(&parts.concat())
}
