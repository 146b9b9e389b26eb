//! Rows of the books, found by time, exchange, key or scope: always along an index, a page at a time.

use rusqlite::{Connection, OptionalExtension as _, Result, Row, ToSql, named_params};
use tollgate_ledger::{Entry, Outcome, Price, Query};

use crate::statements::{integer, natural};

const ROW: &str = "SELECT request_id, at_ms, key, model, upstream, upstream_model, input_tokens, \
                   cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, estimated, \
                   charge_nano, currency, input_price, cached_input_price, cache_write_price, output_price, \
                   reasoning_price, price_since_ms, price_source, status, outcome, duration_ms, first_byte_ms \
                   FROM charges";

/// One lower bound, so that the index is entered where the page begins.
const PAGE: &str =
    "(at_ms, request_id) > (:from, :after) AND at_ms < :to ORDER BY at_ms, request_id LIMIT :limit";

const BY_TIME: &str = "WHERE";
const OF_KEY: &str = "INDEXED BY charges_by_key WHERE key = :key AND";
const OF_SCOPE: &str = "INDEXED BY charges_by_key WHERE (key = :key OR key >= :first AND key < :end) AND";
const OF_LARGE_SCOPE: &str = "NOT INDEXED WHERE (key = :key OR key >= :first AND key < :end) AND";

/// A scope with at most [`FEW`] rows is found by its keys and sorted; a larger one in the order of time, where its
/// rows are dense enough.
const IS_LARGE: &str = "SELECT count(*) > :few FROM (SELECT 1 FROM charges INDEXED BY charges_by_key \
                        WHERE key = :key OR key >= :first AND key < :end LIMIT :few + 1)";
const FEW: i64 = 50_000;

/// See [`tollgate_ledger::Charges::charges`].
pub fn select(connection: &mut Connection, query: &Query) -> Result<Vec<Entry>> {
    if let Some(request_id) = &query.request_id {
        let mut ask = connection.prepare_cached(&format!("{ROW} WHERE request_id = ?1"))?;
        let row = ask.query_row([request_id], entry_in).optional()?;
        return Ok(row.filter(|entry| query.limit > 0 && query.matches(entry)).into_iter().collect());
    }
    let Some(scope) = &query.scope else { return page(connection, BY_TIME, query, &[]) };
    if scope.matches('/').count() > 1 {
        return page(connection, OF_KEY, query, &[(":key", scope)]);
    }
    let (first, end) = (format!("{scope}/"), format!("{scope}0"));
    let below: [(&str, &dyn ToSql); 3] = [(":key", scope), (":first", &first), (":end", &end)];
    let parameters: Vec<(&str, &dyn ToSql)> = below.into_iter().chain([(":few", &FEW as _)]).collect();
    let is_large = connection.prepare_cached(IS_LARGE)?.query_row(&*parameters, |row| row.get(0))?;
    page(connection, if is_large { OF_LARGE_SCOPE } else { OF_SCOPE }, query, &below)
}

fn page(
    connection: &Connection,
    which: &str,
    query: &Query,
    scope: &[(&str, &dyn ToSql)],
) -> Result<Vec<Entry>> {
    let begin = (query.from_ms, "");
    let (from, after) = query.after.as_ref().map_or(begin, |(at_ms, id)| (*at_ms, id.as_str()).max(begin));
    let (from, to) = (integer(from), integer(query.to_ms));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut ask = connection.prepare_cached(&format!("{ROW} {which} {PAGE}"))?;
    let range = named_params! { ":from": from, ":after": after, ":to": to, ":limit": limit };
    let parameters: Vec<(&str, &dyn ToSql)> = range.iter().chain(scope).copied().collect();
    ask.query_map(&*parameters, entry_in)?.collect()
}

fn entry_in(row: &Row<'_>) -> Result<Entry> {
    let number = |column: usize| row.get(column).map(natural);
    let maybe = |column: usize| row.get::<_, Option<i64>>(column).map(|number| number.map(natural));
    let outcome = Outcome::parse(row.get_ref(22)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(22, rusqlite::types::Type::Text, "not an outcome".into())
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
        cache_write_tokens: number(8)?,
        output_tokens: number(9)?,
        reasoning_tokens: number(10)?,
        estimated: row.get(11)?,
        charge: number(12)?,
        currency: row.get(13)?,
        price: Price {
            input: number(14)?,
            cached_input: number(15)?,
            cache_write: number(16)?,
            output: number(17)?,
            reasoning: number(18)?,
            since_ms: maybe(19)?,
            source: row.get(20)?,
        },
        status: row.get(21)?,
        outcome,
        duration_ms: number(23)?,
        first_byte_ms: maybe(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_along_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        let from = "(at_ms,request_id)>(?,?) AND at_ms<?)";
        for (which, plan) in [
            (BY_TIME, &[&*format!("SEARCH charges USING PRIMARY KEY ({from}")][..]),
            (OF_KEY, &[&format!("SEARCH charges USING INDEX charges_by_key (key=? AND {from}")]),
            (OF_LARGE_SCOPE, &[&format!("SEARCH charges USING PRIMARY KEY ({from}")]),
            (
                OF_SCOPE,
                &[
                    "MULTI-INDEX OR",
                    "INDEX 1",
                    &format!("SEARCH charges USING INDEX charges_by_key (key=? AND {from}"),
                    "INDEX 2",
                    "SEARCH charges USING INDEX charges_by_key (key>? AND key<?)",
                    "USE TEMP B-TREE FOR ORDER BY",
                ],
            ),
        ] {
            let mut ask = connection.prepare(&format!("EXPLAIN QUERY PLAN {ROW} {which} {PAGE}")).unwrap();
            let steps = ask.raw_query().mapped(|row| row.get(3)).collect::<Result<Vec<String>>>().unwrap();
            assert_eq!(steps, plan, "{which}");
        }
    }
}
