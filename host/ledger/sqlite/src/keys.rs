//! Keys and scopes in their tables. What they mean is the business of [`tollgate_ledger::keys`]; here they are found,
//! and kept by compare-and-set on their version, each change in one transaction.

use rusqlite::{Connection, OptionalExtension as _, Result, Row, TransactionBehavior, params};
use tollgate_ledger::keys::{
    Digest, Found, Kept, Key, Limits, Priority, Scope, Secret, digest_of, digest_text,
};

use crate::statements::{integer, json, natural};

const KEY: &str = "SELECT name, requests, tokens, concurrent, budgets, models, priority, created_ms, expires_ms, \
                   revoked_ms, version, tags FROM keys";
const SCOPE: &str = "SELECT name, requests, tokens, concurrent, budgets, version FROM scopes";

/// See [`tollgate_ledger::keys::Keys::find`]. One moment is read, whatever is changed meanwhile.
pub fn find(connection: &mut Connection, digest: &Digest) -> Result<Option<Found>> {
    let moment = connection.transaction()?;
    let mut owner = moment.prepare_cached("SELECT key FROM key_secrets WHERE digest = ?1")?;
    let name: Option<String> = owner.query_row([digest_text(digest)], |row| row.get(0)).optional()?;
    let Some(name) = name else { return Ok(None) };
    let Some(key) = key(&moment, &name)? else { return Ok(None) };
    let around = key.scope_names().map(|name| scope(&moment, name)).collect::<Result<Vec<_>>>()?;
    Ok(Some(Found { key, scopes: around.into_iter().flatten().collect() }))
}

/// See [`tollgate_ledger::keys::Keys::key`]. The caller has begun a transaction.
pub fn key(connection: &Connection, name: &str) -> Result<Option<Key>> {
    let mut ask = connection.prepare_cached(&format!("{KEY} WHERE name = ?1"))?;
    let Some(mut key) = ask.query_row([name], key_in).optional()? else { return Ok(None) };
    key.secrets = secrets(connection, name)?;
    Ok(Some(key))
}

/// See [`tollgate_ledger::keys::Keys::keys`].
pub fn keys(connection: &mut Connection) -> Result<Vec<Key>> {
    let moment = connection.transaction()?;
    let mut ask = moment.prepare_cached(&format!("{KEY} ORDER BY name"))?;
    let mut keys = ask.query_map((), key_in)?.collect::<Result<Vec<Key>>>()?;
    for key in &mut keys {
        key.secrets = secrets(&moment, &key.name)?;
    }
    Ok(keys)
}

/// See [`tollgate_ledger::keys::Keys::keep_key`]. A digest that another key has is a conflict too.
pub fn keep_key(connection: &mut Connection, key: &Key) -> Result<Kept> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&change, "SELECT version FROM keys WHERE name = ?1", &key.name)? != key.version {
        return Ok(Kept::Conflict);
    }
    change.prepare_cached("DELETE FROM key_secrets WHERE key = ?1")?.execute([&key.name])?;
    let models = key.models.as_ref().map(json).transpose()?;
    // Not REPLACE, which would be a deletion to the secrets that refer to the key.
    change
        .prepare_cached(
            "INSERT INTO keys (name, requests, tokens, concurrent, budgets, models, priority, created_ms, \
             expires_ms, revoked_ms, version, tags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (name) DO UPDATE SET requests = ?2, tokens = ?3, concurrent = ?4, budgets = ?5, \
             models = ?6, priority = ?7, created_ms = ?8, expires_ms = ?9, revoked_ms = ?10, version = ?11, tags = ?12",
        )?
        .execute(params![
            key.name,
            key.limits.requests,
            key.limits.tokens,
            key.limits.concurrent.map(integer),
            json(&key.limits.budgets)?,
            models,
            key.priority.as_str(),
            integer(key.created_ms),
            key.expires_ms.map(integer),
            key.revoked_ms.map(integer),
            integer(key.version.saturating_add(1)),
            json(&key.tags)?,
        ])?;
    let mut keep = change.prepare_cached(
        "INSERT INTO key_secrets (digest, key, place, created_ms, ends_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO NOTHING",
    )?;
    for (place, secret) in (0_i64..).zip(&key.secrets) {
        let (created_ms, ends_ms) = (integer(secret.created_ms), secret.ends_ms.map(integer));
        if keep.execute(params![digest_text(&secret.digest), key.name, place, created_ms, ends_ms])? == 0 {
            return Ok(Kept::Conflict);
        }
    }
    drop(keep);
    change.commit()?;
    Ok(Kept::Done)
}

/// See [`tollgate_ledger::keys::Keys::scope`].
pub fn scope(connection: &Connection, name: &str) -> Result<Option<Scope>> {
    let mut ask = connection.prepare_cached(&format!("{SCOPE} WHERE name = ?1"))?;
    ask.query_row([name], scope_in).optional()
}

/// See [`tollgate_ledger::keys::Keys::scopes`].
pub fn scopes(connection: &Connection) -> Result<Vec<Scope>> {
    let mut ask = connection.prepare_cached(&format!("{SCOPE} ORDER BY name"))?;
    ask.query_map((), scope_in)?.collect()
}

/// See [`tollgate_ledger::keys::Keys::keep_scope`].
pub fn keep_scope(connection: &mut Connection, scope: &Scope) -> Result<Kept> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&change, "SELECT version FROM scopes WHERE name = ?1", &scope.name)? != scope.version {
        return Ok(Kept::Conflict);
    }
    change
        .prepare_cached(
            "REPLACE INTO scopes (name, requests, tokens, concurrent, budgets, version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            scope.name,
            scope.limits.requests,
            scope.limits.tokens,
            scope.limits.concurrent.map(integer),
            json(&scope.limits.budgets)?,
            integer(scope.version.saturating_add(1)),
        ])?;
    change.commit()?;
    Ok(Kept::Done)
}

/// The version that is kept; 0: there is none.
fn version(connection: &Connection, sql: &str, name: &str) -> Result<u64> {
    let kept = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    Ok(kept.map_or(0, natural))
}

fn secrets(connection: &Connection, name: &str) -> Result<Vec<Secret>> {
    let mut ask = connection.prepare_cached(
        "SELECT digest, created_ms, ends_ms FROM key_secrets WHERE key = ?1 ORDER BY place",
    )?;
    let secret = |row: &Row<'_>| {
        let digest = digest_of(row.get_ref(0)?.as_str()?).ok_or_else(|| unreadable(0, "not a digest"))?;
        let ends_ms = row.get::<_, Option<i64>>(2)?.map(natural);
        Ok(Secret { digest, created_ms: natural(row.get(1)?), ends_ms })
    };
    ask.query_map([name], secret)?.collect()
}

fn key_in(row: &Row<'_>) -> Result<Key> {
    let models: Option<String> = row.get(5)?;
    let priority = Priority::parse(row.get_ref(6)?.as_str()?);
    Ok(Key {
        name: row.get(0)?,
        secrets: Vec::new(),
        models: models.map(|text| list(5, &text)).transpose()?,
        limits: limits_in(row)?,
        priority: priority.ok_or_else(|| unreadable(6, "not a priority"))?,
        tags: list(11, row.get_ref(11)?.as_str()?)?,
        created_ms: natural(row.get(7)?),
        expires_ms: row.get::<_, Option<i64>>(8)?.map(natural),
        revoked_ms: row.get::<_, Option<i64>>(9)?.map(natural),
        version: natural(row.get(10)?),
    })
}

fn scope_in(row: &Row<'_>) -> Result<Scope> {
    Ok(Scope { name: row.get(0)?, limits: limits_in(row)?, version: natural(row.get(5)?) })
}

/// The columns after the name are the same for keys and scopes.
fn limits_in(row: &Row<'_>) -> Result<Limits> {
    Ok(Limits {
        requests: row.get(1)?,
        tokens: row.get(2)?,
        concurrent: row.get::<_, Option<i64>>(3)?.map(natural),
        budgets: list(4, row.get_ref(4)?.as_str()?)?,
    })
}

fn list(column: usize, text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|_| unreadable(column, "not a list in JSON"))
}

fn unreadable(column: usize, reason: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, reason.into())
}
