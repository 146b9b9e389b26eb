//! What an operator can do with keys and scopes, from the command line or over HTTP: make, show, limit, rotate and
//! revoke.
//!
//! The policy checks every change before it is kept: only it knows what a limit means. A change is a
//! compare-and-set, repeated when somebody else was faster, so that no change is lost. A secret is handed out once,
//! by the call that makes it, and kept as its digest.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_document::Problem;
use tollgate_ledger::keys::{Kept, Key, Keys, Limits, Priority, Scope, wrong_with_name, wrong_with_tags};
use tollgate_ledger::{Unavailable, scopes};

use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::key;
use crate::object::object;
use crate::policy::wit;

/// How often a change is tried again when others change the same record.
const TRIES: usize = 16;

/// Changes keys and scopes.
pub struct Operator {
    gateway: Gateway,
    keys: Arc<dyn Keys>,
}

/// What a key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// The models it may use; none: every model.
    pub models: Option<Vec<String>>,
    /// Its limits, as in the configuration.
    #[serde(deserialize_with = "object")]
    pub limits: Limits,
    /// How urgent its requests are.
    pub priority: Priority,
    /// Words that routes can ask for.
    pub tags: Vec<String>,
    /// From when on it is no longer valid: milliseconds since the epoch.
    pub expires_ms: Option<u64>,
}

/// Why an operator's wish is not fulfilled.
#[derive(Debug)]
pub enum NotDone {
    /// There is no such key or scope.
    NotFound(String),
    /// There is a key of this name already, here or in the configuration.
    Exists(String),
    /// The key was revoked, which is for ever.
    Revoked(String),
    /// What was asked for is not sound; every problem, each with its place.
    Invalid(Vec<Problem>),
    /// Others kept changing the same record.
    Busy(String),
    /// The store did not answer.
    Unavailable(Unavailable),
    /// The policy gave no answer, or the system no randomness.
    Broken(String),
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => write!(f, "there is no `{name}` in the store"),
            Self::Exists(name) => write!(f, "there is a key named `{name}` already"),
            Self::Revoked(name) => write!(f, "the key `{name}` was revoked; make another one"),
            Self::Invalid(problems) => {
                let texts = problems.iter().map(|problem| match problem.at.as_str() {
                    "" => problem.message.clone(),
                    at => format!("{at}: {}", problem.message),
                });
                f.write_str(&texts.collect::<Vec<_>>().join("\n"))
            }
            Self::Busy(name) => write!(f, "others are changing `{name}` all the time; try again"),
            Self::Unavailable(cause) => write!(f, "{cause}"),
            Self::Broken(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for NotDone {}

impl From<Unavailable> for NotDone {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl Operator {
    /// An operator of the keys in this store, checked by this gateway's policy.
    pub fn new(gateway: Gateway, keys: Arc<dyn Keys>) -> Self {
        Self { gateway, keys }
    }

    /// Makes a key. The secret is in no other place than in the answer.
    ///
    /// # Errors
    /// When there is one of this name, or the terms are not sound.
    pub async fn create(&self, name: &str, terms: &Terms) -> Result<(Key, key::Secret), NotDone> {
        named(name, 3)?;
        if self.configured(name)? {
            return Err(NotDone::Exists(name.to_owned()));
        }
        self.is_free(name).await?;
        let (secret, now) = (secret()?, self.gateway.now());
        not_passed(terms.expires_ms, now)?;
        let key = with_terms(Key::new(name, secret.digest_bytes(), now), terms);
        self.check(&key).await?;
        match self.keys.keep_key(&key).await? {
            Kept::Done => Ok((Key { version: 1, ..key }, secret)),
            Kept::Conflict => Err(NotDone::Exists(name.to_owned())),
        }
    }

    /// A path is a key or a scope, never both: they would count in the same cells.
    async fn is_free(&self, name: &str) -> Result<(), NotDone> {
        let taken =
            |message: String| Err(NotDone::Invalid(vec![Problem { at: "name".into(), line: None, message }]));
        let below = format!("{name}/");
        let key = |key: &str| key.starts_with(&below);
        let configured = self.configured_callers()?;
        // Below a name of three parts there is nothing: most keys are made without a look at all others.
        let stored = if name.split('/').count() < 3 { self.keys.keys().await? } else { Vec::new() };
        let mut names = configured
            .iter()
            .map(|caller| caller.key.as_str())
            .chain(stored.iter().map(|key| key.name.as_str()));
        if let Some(inner) = names.find(|name| key(name)) {
            return taken(format!(
                "`{name}` is the scope that the key `{inner}` lies in, so no key can have this name"
            ));
        }
        for outer in scopes(name).filter(|outer| *outer != name) {
            let is_key =
                configured.iter().any(|caller| caller.key == outer) || self.keys.key(outer).await?.is_some();
            if is_key {
                return taken(format!("`{outer}` is a key, so no key can lie in a scope of this name"));
            }
        }
        match self.keys.scope(name).await? {
            Some(scope) if !scope.limits.is_empty() => taken(format!("`{name}` is a scope that has limits")),
            _ => Ok(()),
        }
    }

    /// A key by its name.
    ///
    /// # Errors
    /// When there is none in the store.
    pub async fn key(&self, name: &str) -> Result<Key, NotDone> {
        self.keys.key(name).await?.ok_or_else(|| NotDone::NotFound(name.to_owned()))
    }

    /// Every key of the store, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keys(&self) -> Result<Vec<Key>, NotDone> {
        Ok(self.keys.keys().await?)
    }

    /// Gives a key another secret; those before stay valid for `overlap_ms`.
    ///
    /// # Errors
    /// When there is no such key, or it was revoked.
    pub async fn rotate(&self, name: &str, overlap_ms: u64) -> Result<(Key, key::Secret), NotDone> {
        let secret = secret()?;
        let digest = secret.digest_bytes();
        let now = self.gateway.now();
        let key = self.change(name, false, |key| key.rotate(digest, overlap_ms, now)).await?;
        Ok((key, secret))
    }

    /// Ends a key for ever.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn revoke(&self, name: &str) -> Result<Key, NotDone> {
        let now = self.gateway.now();
        match self.change(name, false, |key| key.revoke(now)).await {
            Err(NotDone::Revoked(name)) => self.key(&name).await,
            done => done,
        }
    }

    /// Changes what a key may do.
    ///
    /// # Errors
    /// When there is no such key, or the terms are not sound.
    pub async fn set_terms(&self, name: &str, change: impl Fn(&mut Terms)) -> Result<Key, NotDone> {
        self.change(name, true, |key| {
            let mut terms = Terms {
                models: key.models.take(),
                limits: std::mem::take(&mut key.limits),
                priority: key.priority,
                tags: std::mem::take(&mut key.tags),
                expires_ms: key.expires_ms,
            };
            change(&mut terms);
            Terms {
                models: key.models,
                limits: key.limits,
                priority: key.priority,
                tags: key.tags,
                expires_ms: key.expires_ms,
            } = terms;
        })
        .await
    }

    /// A scope by its name; without limits if it has none.
    ///
    /// # Errors
    /// When the name is not one of a scope.
    pub async fn scope(&self, name: &str) -> Result<Scope, NotDone> {
        named(name, 2)?;
        let none = || Scope { name: name.to_owned(), limits: Limits::default(), version: 0 };
        Ok(self.keys.scope(name).await?.unwrap_or_else(none))
    }

    /// Every scope of the store that has limits, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn scopes(&self) -> Result<Vec<Scope>, NotDone> {
        Ok(self.keys.scopes().await?.into_iter().filter(|scope| !scope.limits.is_empty()).collect())
    }

    /// Changes the limits that all keys of a scope share.
    ///
    /// # Errors
    /// When the limits are not sound.
    pub async fn set_limits(&self, name: &str, change: impl Fn(&mut Limits)) -> Result<Scope, NotDone> {
        named(name, 2)?;
        if self.configured(name)? || self.keys.key(name).await?.is_some() {
            return Err(NotDone::Exists(name.to_owned()));
        }
        for _ in 0..TRIES {
            let mut scope = self.scope(name).await?;
            change(&mut scope.limits);
            self.check_scope(&scope)?;
            if self.keys.keep_scope(&scope).await? == Kept::Done {
                return Ok(Scope { version: scope.version.saturating_add(1), ..scope });
            }
        }
        Err(NotDone::Busy(name.to_owned()))
    }

    /// Changes a key. What it may do is checked only where that changes: a key whose model is gone can still be
    /// revoked.
    async fn change(
        &self,
        name: &str,
        terms_change: bool,
        change: impl Fn(&mut Key),
    ) -> Result<Key, NotDone> {
        for _ in 0..TRIES {
            let mut key = self.key(name).await?;
            if key.revoked_ms.is_some() {
                return Err(NotDone::Revoked(name.to_owned()));
            }
            change(&mut key);
            if terms_change {
                self.check(&key).await?;
            }
            if self.keys.keep_key(&key).await? == Kept::Done {
                return Ok(Key { version: key.version.saturating_add(1), ..key });
            }
        }
        Err(NotDone::Busy(name.to_owned()))
    }

    /// Has the policy read what a key may do. That tags are words is asked of whatever policy is loaded.
    async fn check(&self, key: &Key) -> Result<(), NotDone> {
        let mut scopes = Vec::new();
        for name in key.scope_names() {
            scopes.extend(self.keys.scope(name).await?);
        }
        let tag = |(at, message)| Problem { at, line: None, message };
        let mut problems: Vec<Problem> = wrong_with_tags(&key.tags).into_iter().map(tag).collect();
        match self.limits(&Caller::new(key, &scopes)) {
            // The policy may know what is wrong with a tag as well.
            Err(NotDone::Invalid(more)) => {
                problems.extend(more.into_iter().filter(|problem| !problem.at.starts_with("tags")));
            }
            answer => drop(answer?),
        }
        if problems.is_empty() { Ok(()) } else { Err(NotDone::Invalid(problems)) }
    }

    fn check_scope(&self, scope: &Scope) -> Result<(), NotDone> {
        // A key that stands for those below the scope.
        let key = Key::new(format!("{}/any", scope.name), [0; 32], 0);
        self.limits(&Caller::new(&key, std::slice::from_ref(scope))).map(|_| ())
    }

    /// What the limits of a caller are, and the cells they count in.
    pub(crate) fn limits(&self, caller: &Caller) -> Result<Vec<wit::Limit>, NotDone> {
        let now = self.gateway.now();
        let policy = self.gateway.generation();
        let answer = caller.lend(|principal| policy.policy.call(|policy| policy.limits(principal, now)));
        let limits = answer.map_err(|broken| NotDone::Broken(broken.to_string()))?;
        limits.map_err(|problems| {
            let problem = |problem: wit::Problem| Problem {
                at: problem.at,
                line: problem.line,
                message: problem.message,
            };
            NotDone::Invalid(problems.into_iter().map(problem).collect())
        })
    }

    /// The callers that the configuration knows.
    pub(crate) fn configured_callers(&self) -> Result<Vec<Caller>, NotDone> {
        let policy = self.gateway.generation();
        let callers = policy.policy.call(crate::policy::Instance::callers);
        let callers = callers.map_err(|broken| NotDone::Broken(broken.to_string()))?;
        Ok(callers.into_iter().map(Caller::from).collect())
    }

    fn configured(&self, name: &str) -> Result<bool, NotDone> {
        Ok(self.configured_callers()?.iter().any(|caller| caller.key == name))
    }
}

fn with_terms(key: Key, terms: &Terms) -> Key {
    let Terms { models, limits, priority, tags, expires_ms } = terms.clone();
    Key { models, limits, priority, tags, expires_ms, ..key }
}

/// A key that is made to be refused is a mistake in a year or a unit.
fn not_passed(expires_ms: Option<u64>, now: u64) -> Result<(), NotDone> {
    if expires_ms.is_none_or(|expires_ms| expires_ms > now) {
        return Ok(());
    }
    let message = "this moment has passed; to end a key, revoke it".to_owned();
    Err(NotDone::Invalid(vec![Problem { at: "expires_ms".into(), line: None, message }]))
}

fn named(name: &str, most: usize) -> Result<(), NotDone> {
    wrong_with_name(name, most).map_or(Ok(()), |message| {
        Err(NotDone::Invalid(vec![Problem { at: "name".into(), line: None, message }]))
    })
}

fn secret() -> Result<key::Secret, NotDone> {
    key::Secret::generate().map_err(|cause| NotDone::Broken(cause.to_string()))
}
