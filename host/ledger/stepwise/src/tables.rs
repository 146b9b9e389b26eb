//! The tables: those of `tollgate-sqlite`, and what only this way of keeping them needs.

use tollgate_ledger::Unavailable;

use crate::database::Database;
use crate::step::Step;

const SCHEMA: &str = include_str!("../../sqlite/src/schema.sql");

/// `application_id` and `user_version` of `schema.sql`.
const APPLICATION: u64 = 1_953_459_308;
const VERSION: u64 = 2;
const VERSION_OF: &str = "PRAGMA user_version";

/// Breakers, which a server has in its memory, and ways to find what a server has in its memory.
const OURS: &str = "
    CREATE TABLE IF NOT EXISTS breakers (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS holds_by_request ON holds (request_id);
    CREATE INDEX IF NOT EXISTS holds_by_lease ON holds (until_ms);
    CREATE INDEX IF NOT EXISTS counters_by_end ON counters (ends_at_ms);";

/// What is known of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Nothing yet.
    Unseen,
    /// They are of this version, but some may be missing.
    OfThisVersion,
    /// All are there.
    Complete,
}

/// Looks at the version, and makes the tables if there are none. Every instance that begins has to do this before its
/// first step, so it does not look at each table.
pub(crate) fn look<D: Database>(step: &mut Step<'_, D>) -> Result<Tables, Unavailable> {
    // Another instance may be making them: then that is looked at.
    if number(step, VERSION_OF).is_ok_and(|version| version == VERSION) {
        return Ok(Tables::OfThisVersion);
    }
    set_up(step)?;
    Ok(Tables::Complete)
}

/// Makes those tables that are not there, and says whether there were any, whoever has made them then. A database of
/// something else, or of another version, is left alone.
pub(crate) fn set_up<D: Database>(step: &mut Step<'_, D>) -> Result<bool, Unavailable> {
    match is_made(step) {
        Ok(true) => return Ok(false),
        // Readers then never wait for writers. Where the platform has it otherwise, it is only slower.
        Ok(false) => drop(step.run("PRAGMA journal_mode = WAL", &[])),
        // Another instance may be making them between two statements: it is asked again where nobody is.
        Err(_) => {}
    }
    step.run("BEGIN IMMEDIATE", &[])?;
    let made = is_made(step).and_then(|is_made| {
        let version = number(step, VERSION_OF)?;
        let schema = if version == 0 { SCHEMA } else { "" };
        let all = if is_made { Vec::new() } else { [statements(schema), statements(OURS)].concat() };
        all.iter().try_for_each(|statement| step.run(statement, &[]).map(drop))?;
        step.run("COMMIT", &[]).map(|_| true)
    });
    if made.is_err() {
        let _ = step.run("ROLLBACK", &[]);
    }
    made
}

/// Whether all tables are there.
fn is_made<D: Database>(step: &mut Step<'_, D>) -> Result<bool, Unavailable> {
    let version = number(step, VERSION_OF)?;
    // Nobody else has all of these.
    let ours = "SELECT count(*) FROM sqlite_schema WHERE name IN \
                ('breakers', 'holds_by_request', 'holds_by_lease', 'counters_by_end')";
    if version == VERSION && number(step, ours)? == 4 {
        return Ok(true);
    }
    match (number(step, "PRAGMA application_id")?, version) {
        (APPLICATION, VERSION) => Ok(false),
        (APPLICATION, _) => Err(Unavailable::new(format!(
            "the database is one of version {version}, and this is version {VERSION}"
        ))),
        (0, 0) if number(step, "SELECT count(*) FROM sqlite_schema")? == 0 => Ok(false),
        _ => Err(Unavailable::new("the database is not one of Tollgate's")),
    }
}

fn number<D: Database>(step: &mut Step<'_, D>, statement: &str) -> Result<u64, Unavailable> {
    step.first(statement, &[])?.map_or(Ok(0), |row| row.number(0))
}

/// The statements of a script, without its comments.
fn statements(script: &str) -> Vec<String> {
    let code = |line: &str| line.split("--").next().unwrap_or_default().to_owned();
    let script = script.lines().map(code).collect::<Vec<_>>().join("\n");
    script.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}
