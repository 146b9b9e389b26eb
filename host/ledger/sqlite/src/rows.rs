//! Rows of the books, found by time, exchange, key or scope: always along an index, a page at a time.

use rusqlite::{Connection, OptionalExtension as _, Result, Row, ToSql, named_params};
use tollgate_ledger::{Entry, Outcome, Price, Query};

use crate::statements::{integer, natural};

const ROW: &str = "SELECT request_id, at_ms, key, model, upstream, upstream_model, input_tokens, \
                   cached_input_tokens, output_tokens, reasoning_tokens, estimated, charge_nano, currency, \
                   input_price, cached_input_price, output_price, status, outcome, duration_ms, first_byte_ms \
                   FROM charges";

const PAGE: &str = "at_ms >= :from AND at_ms < :to AND (at_ms, request_id) > (:after, :after_id) \
                    ORDER BY at_ms, request_id LIMIT :limit";

/// A scope with at most so many rows is found by its keys and sorted; a larger one in the order of time, where its
/// rows are dense enough.
const FEW: i64 = 50_000;

/// See [`tollgate_ledger::Charges::charges`].
pub fn select(connection: &mut Connection, query: &Query) -> Result<Vec<Entry>> {
    if let Some(request_id) = &query.request_id {
        let mut ask = connection.prepare_cached(&format!("{ROW} WHERE request_id = ?1"))?;
        let row = ask.query_row([request_id], entry_in).optional()?;
        return Ok(row.filter(|entry| query.limit > 0 && query.matches(entry)).into_iter().collect());
    }
    let Some(scope) = &query.scope else {
        return page(connection, &format!("{ROW} WHERE {PAGE}"), query, &[]);
    };
    if scope.matches('/').count() > 1 {
        let sql = format!("{ROW} INDEXED BY charges_by_key WHERE key = :key AND {PAGE}");
        return page(connection, &sql, query, &[(":key", scope)]);
    }
    let (first, end) = (format!("{scope}/"), format!("{scope}0"));
    let below: [(&str, &dyn ToSql); 3] = [(":key", scope), (":first", &first), (":end", &end)];
    let by_key = "(key = :key OR key >= :first AND key < :end)";
    let count = format!(
        "SELECT count(*) FROM (SELECT 1 FROM charges INDEXED BY charges_by_key WHERE {by_key} LIMIT {FEW} + 1)"
    );
    let many = connection.prepare_cached(&count)?.query_row(&below, |row| row.get::<_, i64>(0))? > FEW;
    let sql = if many {
        format!("{ROW} NOT INDEXED WHERE {by_key} AND {PAGE}")
    } else {
        format!("{ROW} INDEXED BY charges_by_key WHERE {by_key} AND {PAGE}")
    };
    page(connection, &sql, query, &below)
}

fn page(
    connection: &Connection,
    sql: &str,
    query: &Query,
    scope: &[(&str, &dyn ToSql)],
) -> Result<Vec<Entry>> {
    let (after, after_id) =
        query.after.as_ref().map_or((-1, ""), |(at_ms, id)| (integer(*at_ms), id.as_str()));
    let (from, to) = (integer(query.from_ms), integer(query.to_ms));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut ask = connection.prepare_cached(sql)?;
    let range =
        named_params! { ":from": from, ":to": to, ":after": after, ":after_id": after_id, ":limit": limit };
    let parameters: Vec<(&str, &dyn ToSql)> = range.iter().chain(scope).copied().collect();
    ask.query_map(&*parameters, entry_in)?.collect()
}

fn entry_in(row: &Row<'_>) -> Result<Entry> {
    let number = |column: usize| row.get(column).map(natural);
    let outcome = Outcome::parse(row.get_ref(17)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(17, rusqlite::types::Type::Text, "not an outcome".into())
    })?;
    Ok(Entry {
        request_id: row.get(0)?,
        at_ms: number(1)?,
        key: row.get(2)?,
        model: row.get(3)?,
        upstream: row.get(4)?,
        upstream_model: row.get(5)?,
        input_tokens: number(6)?,
        cached_input_tokens: number(7)?,
        output_tokens: number(8)?,
        reasoning_tokens: number(9)?,
        estimated: row.get(10)?,
        charge: number(11)?,
        currency: row.get(12)?,
        price: Price { input: number(13)?, cached_input: number(14)?, output: number(15)? },
        status: row.get(16)?,
        outcome,
        duration_ms: number(18)?,
        first_byte_ms: row.get::<_, Option<i64>>(19)?.map(natural),
    })
}
