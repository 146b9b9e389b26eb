//! Finding the caller of a digest. What keys and scopes mean is the business of [`tollgate_ledger::keys`].

use tollgate_ledger::Unavailable;
use tollgate_ledger::keys::{Digest, Found, Key, Limits, Priority, Scope, Secret, digest_of, digest_text};

use crate::database::{Database, Row};
use crate::step::Step;

/// One statement for the key and all of its secrets: one moment is read.
const KEY: &str = "SELECT keys.name, requests, tokens, concurrent, budgets, models, priority, tags, \
                   keys.created_ms, expires_ms, revoked_ms, version, \
                   other.digest, other.created_ms, other.ends_ms \
                   FROM key_secrets AS mine JOIN keys ON keys.name = mine.key \
                   JOIN key_secrets AS other ON other.key = keys.name \
                   WHERE mine.digest = ?1 ORDER BY other.place";
const SCOPE: &str = "SELECT name, requests, tokens, concurrent, budgets, version FROM scopes WHERE name = ?1";

pub(crate) fn find<D: Database>(
    step: &mut Step<'_, D>,
    digest: &Digest,
) -> Result<Option<Found>, Unavailable> {
    let rows = step.run(KEY, &[digest_text(digest).into()])?;
    let Some(first) = rows.first() else { return Ok(None) };
    let key = Key { secrets: rows.iter().map(secret).collect::<Result<_, _>>()?, ..key(first)? };
    let mut scopes = Vec::new();
    for name in key.scope_names() {
        if let Some(row) = step.first(SCOPE, &[name.into()])? {
            scopes.push(Scope { name: name.to_owned(), limits: limits(&row)?, version: row.number(5)? });
        }
    }
    Ok(Some(Found { key, scopes }))
}

fn key(row: &Row) -> Result<Key, Unavailable> {
    let models = row.maybe_text(5)?.map(|_| row.parsed(5, list)).transpose()?;
    Ok(Key {
        name: row.text(0)?.to_owned(),
        secrets: Vec::new(),
        models,
        limits: limits(row)?,
        priority: row.parsed(6, Priority::parse)?,
        tags: row.parsed(7, list)?,
        created_ms: row.number(8)?,
        expires_ms: row.maybe_number(9)?,
        revoked_ms: row.maybe_number(10)?,
        version: row.number(11)?,
    })
}

fn secret(row: &Row) -> Result<Secret, Unavailable> {
    Ok(Secret {
        digest: row.parsed(12, digest_of)?,
        created_ms: row.number(13)?,
        ends_ms: row.maybe_number(14)?,
    })
}

/// The columns after the name are the same for keys and scopes.
fn limits(row: &Row) -> Result<Limits, Unavailable> {
    Ok(Limits {
        requests: row.maybe_text(1)?.map(str::to_owned),
        tokens: row.maybe_text(2)?.map(str::to_owned),
        concurrent: row.maybe_number(3)?,
        budgets: row.parsed(4, list)?,
    })
}

fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}
