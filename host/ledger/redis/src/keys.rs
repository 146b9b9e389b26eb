//! Keys made at run time, and their scopes: JSON records, found by name or by digest. While Redis is down nobody is
//! found: a caller that cannot be looked up does not come in.

use redis::{ErrorKind, RedisError, RedisResult};
use serde::de::DeserializeOwned;
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Keys, Scope};
use tollgate_ledger::{Pending, Unavailable};

use crate::{Inner, Redis};

/// Records of one page.
const PAGE: usize = 500;

impl Keys for Redis {
    fn find<'a>(&'a self, digest: &'a Digest) -> Pending<'a, Option<Found>> {
        Box::pin(self.inner.find(digest))
    }

    fn key<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Key>> {
        Box::pin(self.inner.record(&self.inner.names.keys, name))
    }

    fn keys(&self) -> Pending<'_, Vec<Key>> {
        Box::pin(async { self.inner.records(&self.inner.names.keys, |key: &Key| key.name.clone()).await })
    }

    fn keep_key<'a>(&'a self, key: &'a Key) -> Pending<'a, Kept> {
        Box::pin(self.inner.keep_key(key))
    }

    fn scope<'a>(&'a self, name: &'a str) -> Pending<'a, Option<Scope>> {
        Box::pin(self.inner.record(&self.inner.names.scopes, name))
    }

    fn scopes(&self) -> Pending<'_, Vec<Scope>> {
        Box::pin(async {
            self.inner.records(&self.inner.names.scopes, |scope: &Scope| scope.name.clone()).await
        })
    }

    fn keep_scope<'a>(&'a self, scope: &'a Scope) -> Pending<'a, Kept> {
        Box::pin(self.inner.keep_scope(scope))
    }
}

impl Inner {
    async fn find(&self, digest: &Digest) -> Result<Option<Found>, Unavailable> {
        Ok(self.link.ask(self.calls(0).find(digest)).await?)
    }

    async fn record<T: DeserializeOwned>(&self, hash: &str, name: &str) -> Result<Option<T>, Unavailable> {
        let mut command = redis::cmd("HGET");
        command.arg(hash).arg(name);
        let found = self.link.run(|mut on| async move {
            let record: Option<String> = command.query_async(&mut on).await?;
            record.map(|record| read(&record)).transpose()
        });
        Ok(found.await?)
    }

    /// Every record, by name. One that changes while they are read is read once, before or after.
    async fn records<T: DeserializeOwned>(
        &self,
        hash: &str,
        name: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, Unavailable> {
        let mut all = std::collections::BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(hash).arg(&cursor).arg("COUNT").arg(PAGE);
            let page = self.link.run(|mut on| async move {
                let (next, records): (String, Vec<(String, String)>) = command.query_async(&mut on).await?;
                let records: Vec<T> =
                    records.iter().map(|(_, record)| read(record)).collect::<RedisResult<_>>()?;
                Ok((next, records))
            });
            let (next, records) = page.await?;
            all.extend(records.into_iter().map(|record| (name(&record), record)));
            if next == "0" {
                return Ok(all.into_values().collect());
            }
            cursor = next;
        }
    }

    async fn keep_key(&self, key: &Key) -> Result<Kept, Unavailable> {
        Ok(self.link.ask(self.calls(0).keep_key(key)?).await?)
    }

    async fn keep_scope(&self, scope: &Scope) -> Result<Kept, Unavailable> {
        Ok(self.link.ask(self.calls(0).keep_scope(scope)?).await?)
    }
}

fn read<T: DeserializeOwned>(record: &str) -> RedisResult<T> {
    serde_json::from_str(record).map_err(|error| {
        RedisError::from((ErrorKind::UnexpectedReturnType, "a record that cannot be read", error.to_string()))
    })
}
