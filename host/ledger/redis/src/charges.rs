//! The rows of the books, read from the stream page by page. Each page is one bounded operation.

use std::collections::BTreeMap;

use redis::streams::StreamRangeReply;
use redis::{ErrorKind, RedisError};
use tollgate_ledger::{Charges, Entry, Pending, Query, Unavailable};

use crate::{Inner, Redis};

/// Rows of one page.
const PAGE: usize = 1_000;

/// How far a gateway's clock may be ahead of the server's, in milliseconds: an exchange's row is written after it
/// began, by a clock that is not the one it began by.
const AHEAD_MS: u64 = 3_600_000;

impl Charges for Redis {
    fn charges<'a>(&'a self, query: &'a Query) -> Pending<'a, Vec<Entry>> {
        Box::pin(self.inner.charges(query))
    }
}

impl Inner {
    async fn charges(&self, query: &Query) -> Result<Vec<Entry>, Unavailable> {
        let first = query.after.as_ref().map_or(query.from_ms, |(at_ms, _)| query.from_ms.max(*at_ms));
        let mut from = first.saturating_sub(AHEAD_MS).to_string();
        if self.obeys_callers {
            "-".clone_into(&mut from);
        }
        // The stream is in the order of settlement: the first rows by time are known when all have been read.
        let mut first: BTreeMap<(u64, String), Entry> = BTreeMap::new();
        loop {
            let page = self.page(&from).await?;
            let rows = page.len();
            for (id, entry) in page {
                if query.matches(&entry) {
                    first.insert((entry.at_ms, entry.request_id.clone()), entry);
                    if first.len() > query.limit {
                        first.pop_last();
                    }
                }
                from = format!("({id}");
            }
            if rows < PAGE {
                return Ok(first.into_values().collect());
            }
        }
    }

    /// The rows from this id on, with their ids.
    async fn page(&self, from: &str) -> Result<Vec<(String, Entry)>, Unavailable> {
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.names.charges).arg(from).arg("+").arg("COUNT").arg(PAGE);
        let read = self.link.run(|mut on| async move {
            let page: StreamRangeReply = command.query_async(&mut on).await?;
            let row = |id: redis::streams::StreamId| {
                let text: String = id.get("entry").ok_or_else(|| no_row(&id.id, "it has none"))?;
                let entry = serde_json::from_str(&text).map_err(|error| no_row(&id.id, error))?;
                Ok((id.id, entry))
            };
            page.ids.into_iter().map(row).collect::<Result<Vec<_>, RedisError>>()
        });
        Ok(read.await?)
    }
}

fn no_row(id: &str, error: impl std::fmt::Display) -> RedisError {
    (ErrorKind::UnexpectedReturnType, "an element of the stream is no row", format!("{id}: {error}")).into()
}
