// Every script and the files it is made of. Included by the build script too, which names each by its hash.

const NUMBERS: &str = include_str!("../lua/numbers.lua");
const WINDOW: &str = include_str!("../lua/window.lua");
const BUDGET: &str = include_str!("../lua/budget.lua");
const SLOTS: &str = include_str!("../lua/slots.lua");
const CELLS: &str = include_str!("../lua/cells.lua");
const PARTS: &str = include_str!("../lua/parts.lua");
const HOLDS: &str = include_str!("../lua/holds.lua");
const LEASE: &str = include_str!("../lua/lease.lua");
const BREAKER: &str = include_str!("../lua/breaker.lua");

const TABLE: [(&str, &[&str]); 14] = [
    ("RESERVE", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, include_str!("../lua/reserve.lua")]),
    ("RAISE", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, LEASE, include_str!("../lua/raise.lua")]),
    ("SETTLE", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, include_str!("../lua/settle.lua")]),
    ("RECORD", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, include_str!("../lua/record.lua")]),
    ("RENEW", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, LEASE, include_str!("../lua/renew.lua")]),
    ("SHORTEN", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, PARTS, HOLDS, LEASE, include_str!("../lua/shorten.lua")]),
    ("DUE", &[NUMBERS, include_str!("../lua/due.lua")]),
    ("EXPIRE", &[NUMBERS, PARTS, HOLDS, include_str!("../lua/expire.lua")]),
    ("STANDINGS", &[NUMBERS, WINDOW, BUDGET, SLOTS, CELLS, include_str!("../lua/standings.lua")]),
    ("ASK", &[NUMBERS, BREAKER, include_str!("../lua/ask.lua")]),
    ("TELL", &[NUMBERS, BREAKER, include_str!("../lua/tell.lua")]),
    ("KEEP_KEY", &[include_str!("../lua/keep_key.lua")]),
    ("KEEP_SCOPE", &[include_str!("../lua/keep_scope.lua")]),
    ("FIND", &[include_str!("../lua/find.lua")]),
];
