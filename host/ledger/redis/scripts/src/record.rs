//! Keys made at run time, and their scopes: JSON records, found by name or by digest.

use tollgate_ledger::Unavailable;
use tollgate_ledger::keys::{Digest, Found, Kept, Key, Scope, digest_text};

use crate::call::{Call, Word, record, texts, unread};
use crate::calls::{Calls, json};
use crate::script;

impl Calls<'_> {
    /// See [`tollgate_ledger::keys::Keys::find`].
    #[must_use]
    pub fn find(self, digest: &Digest) -> Call<Option<Found>> {
        let mut call = Call::new(&script::FIND, |answer| {
            let records = texts(answer)?;
            let Some((key, scopes)) = records.split_first() else { return Ok(None) };
            let scopes = scopes.iter().map(|scope| record(scope)).collect::<Result<_, _>>()?;
            Ok(Some(Found { key: record(key)?, scopes }))
        });
        call.key(&self.names.keys).key(&self.names.digests).key(&self.names.scopes);
        call.argument(digest_text(digest));
        call
    }

    /// See [`tollgate_ledger::keys::Keys::keep_key`].
    ///
    /// # Errors
    /// The key is no JSON.
    pub fn keep_key(self, key: &Key) -> Result<Call<Kept>, Unavailable> {
        let next = Key { version: key.version.saturating_add(1), ..key.clone() };
        let mut call = Call::new(&script::KEEP_KEY, kept);
        call.key(&self.names.keys).key(&self.names.digests);
        call.argument(&key.name).argument(key.version).argument(json(&next)?);
        key.secrets.iter().for_each(|secret| _ = call.argument(digest_text(&secret.digest)));
        Ok(call)
    }

    /// See [`tollgate_ledger::keys::Keys::keep_scope`].
    ///
    /// # Errors
    /// The scope is no JSON.
    pub fn keep_scope(self, scope: &Scope) -> Result<Call<Kept>, Unavailable> {
        let next = Scope { version: scope.version.saturating_add(1), ..scope.clone() };
        let mut call = Call::new(&script::KEEP_SCOPE, kept);
        call.key(&self.names.scopes).argument(&scope.name).argument(scope.version).argument(json(&next)?);
        Ok(call)
    }
}

fn kept(answer: &[Word]) -> Result<Kept, String> {
    match answer {
        [Word::Integer(1)] => Ok(Kept::Done),
        [Word::Integer(0)] => Ok(Kept::Conflict),
        _ => Err(unread(answer)),
    }
}
