//! What each path does.

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_ledger::keys::{Key, Limits, Priority, Scope, digest_text};
use tollgate_ledger::{Condition, Entry, Query, Standing};

use super::Desk;
use super::reply::{Failed, bytes, json};
use crate::caller::Caller;
use crate::object::object;
use crate::operator::Terms;
use crate::translate;
use crate::wit;

/// The longest page of rows.
const MOST_ROWS: usize = 10_000;

type Answer = Result<Response<Full<Bytes>>, Failed>;

/// Finds the path and does what it says.
pub(super) async fn route(desk: &Desk, head: &Parts, body: &Bytes) -> Answer {
    let segments: Vec<String> = head.uri.path().split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (get, post, put) =
        (head.method == Method::GET, head.method == Method::POST, head.method == Method::PUT);
    match segments.as_slice() {
        ["metrics"] if get => Ok(metrics(desk)),
        ["admin", "v1", "keys"] if get => keys(desk).await,
        ["admin", "v1", "keys"] if post => create(desk, &read(body)?).await,
        ["admin", "v1", "keys"] => Err(Failed::wrong_method("GET, POST")),
        ["admin", "v1", "keys", name] if get => {
            Ok(json(StatusCode::OK, &KeyView::from(&desk.operator.key(name).await?)))
        }
        ["admin", "v1", "keys", name] if put => {
            let terms: Terms = read(body)?;
            let key = desk.operator.set_terms(name, |current| *current = terms.clone()).await?;
            Ok(json(StatusCode::OK, &KeyView::from(&key)))
        }
        ["admin", "v1", "keys", _] => Err(Failed::wrong_method("GET, PUT")),
        ["admin", "v1", "keys", name, "rotate"] if post => rotate(desk, name, &read(body)?).await,
        ["admin", "v1", "keys", name, "revoke"] if post => {
            Ok(json(StatusCode::OK, &KeyView::from(&desk.operator.revoke(name).await?)))
        }
        ["admin", "v1", "keys", name, "limits"] if get => limits(desk, name).await,
        ["admin", "v1", "scopes"] if get => {
            let scopes = desk.operator.scopes().await?;
            Ok(json(StatusCode::OK, &List { data: scopes.iter().map(ScopeView::from).collect() }))
        }
        ["admin", "v1", "scopes", name] if get => {
            Ok(json(StatusCode::OK, &ScopeView::from(&desk.operator.scope(name).await?)))
        }
        ["admin", "v1", "scopes", name] if put => {
            let limits: Limits = read(body)?;
            let scope = desk.operator.set_limits(name, |current| *current = limits.clone()).await?;
            Ok(json(StatusCode::OK, &ScopeView::from(&scope)))
        }
        ["admin", "v1", "scopes", _] => Err(Failed::wrong_method("GET, PUT")),
        ["admin", "v1", "charges"] if get => charges(desk, head.uri.query().unwrap_or_default()).await,
        ["admin", "v1", "openapi.json"] if get => {
            Ok(bytes(StatusCode::OK, "application/json", include_bytes!("openapi.json").to_vec()))
        }
        ["admin", "v1", "ledger"] if get => {
            Ok(json(StatusCode::OK, &LedgerView::of(&desk.store.condition())))
        }
        ["admin", "v1", "keys", _, "rotate" | "revoke"] => Err(Failed::wrong_method("POST")),
        ["admin", "v1", "keys", _, "limits"]
        | ["admin", "v1", "scopes" | "charges" | "openapi.json" | "ledger"]
        | ["metrics"] => Err(Failed::wrong_method("GET")),
        _ => Err(Failed::no_such_path()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default, deserialize_with = "object")]
    limits: Limits,
    #[serde(default)]
    priority: Priority,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    expires_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Rotation {
    overlap_ms: u64,
}

#[derive(Serialize)]
struct List<T> {
    data: Vec<T>,
}

#[derive(Serialize)]
struct Secret<'k> {
    key: KeyView<'k>,
    secret: &'k str,
}

/// A key as it is shown: secrets by the beginning of their digests.
#[derive(Serialize)]
struct KeyView<'k> {
    name: &'k str,
    models: &'k Option<Vec<String>>,
    limits: &'k Limits,
    priority: Priority,
    tags: &'k [String],
    created_ms: u64,
    expires_ms: Option<u64>,
    revoked_ms: Option<u64>,
    secrets: Vec<SecretView>,
}

#[derive(Serialize)]
struct SecretView {
    id: String,
    created_ms: u64,
    ends_ms: Option<u64>,
}

impl<'k> From<&'k Key> for KeyView<'k> {
    fn from(key: &'k Key) -> Self {
        let secret = |secret: &tollgate_ledger::keys::Secret| SecretView {
            id: digest_text(&secret.digest).chars().take(12).collect(),
            created_ms: secret.created_ms,
            ends_ms: secret.ends_ms,
        };
        Self {
            name: &key.name,
            models: &key.models,
            limits: &key.limits,
            priority: key.priority,
            tags: &key.tags,
            created_ms: key.created_ms,
            expires_ms: key.expires_ms,
            revoked_ms: key.revoked_ms,
            secrets: key.secrets.iter().map(secret).collect(),
        }
    }
}

#[derive(Serialize)]
struct ScopeView<'s> {
    name: &'s str,
    limits: &'s Limits,
}

impl<'s> From<&'s Scope> for ScopeView<'s> {
    fn from(scope: &'s Scope) -> Self {
        Self { name: &scope.name, limits: &scope.limits }
    }
}

#[derive(Serialize)]
struct LimitView {
    scope: String,
    limit: String,
    unit: &'static str,
    most: u64,
    used: u64,
    remaining: u64,
    reset_ms: u64,
}

#[derive(Serialize)]
struct LedgerView<'c> {
    condition: &'static str,
    reason: Option<&'c str>,
}

impl<'c> LedgerView<'c> {
    fn of(condition: &'c Condition) -> Self {
        match condition {
            Condition::Sound => Self { condition: "sound", reason: None },
            Condition::Degraded(reason) => Self { condition: "degraded", reason: Some(reason) },
            Condition::Down(reason) => Self { condition: "down", reason: Some(reason) },
        }
    }
}

async fn keys(desk: &Desk) -> Answer {
    let keys = desk.operator.keys().await?;
    Ok(json(StatusCode::OK, &List { data: keys.iter().map(KeyView::from).collect() }))
}

async fn create(desk: &Desk, new: &NewKey) -> Answer {
    let terms = Terms {
        models: new.models.clone(),
        limits: new.limits.clone(),
        priority: new.priority,
        tags: new.tags.clone(),
        expires_ms: new.expires_ms,
    };
    let (key, secret) = desk.operator.create(&new.name, &terms).await?;
    Ok(json(StatusCode::CREATED, &Secret { key: KeyView::from(&key), secret: secret.reveal() }))
}

async fn rotate(desk: &Desk, name: &str, rotation: &Rotation) -> Answer {
    let (key, secret) = desk.operator.rotate(name, rotation.overlap_ms).await?;
    Ok(json(StatusCode::OK, &Secret { key: KeyView::from(&key), secret: secret.reveal() }))
}

/// What is left of every limit that a key of the store or of the configuration counts in.
async fn limits(desk: &Desk, name: &str) -> Answer {
    let configured = desk.operator.configured_callers()?.into_iter().find(|caller| caller.key == name);
    let caller = match configured {
        Some(caller) => caller,
        None => {
            let key = desk.operator.key(name).await?;
            let mut scopes = Vec::new();
            for scope in key.scope_names() {
                scopes.extend(desk.store.scope(scope).await?);
            }
            Caller::new(&key, &scopes)
        }
    };
    let limits = desk.operator.limits(&caller)?;
    let claims: Vec<_> = limits.iter().map(|limit| translate::claim(limit.claim.clone())).collect();
    let standings = desk.store.standings(&claims, desk.gateway.now()).await?;
    let view = |(limit, (claim, standing)): (_, (&tollgate_ledger::Claim, Standing))| {
        let limit: crate::policy::wit::Limit = limit;
        let most = claim.rule.limit();
        LimitView {
            scope: limit.scope,
            limit: limit.text,
            unit: unit(limit.unit),
            most,
            used: most.saturating_sub(standing.remaining),
            remaining: standing.remaining,
            reset_ms: standing.reset_ms,
        }
    };
    let data = limits.into_iter().zip(claims.iter().zip(standings)).map(view).collect();
    Ok(json(StatusCode::OK, &List::<LimitView> { data }))
}

async fn charges(desk: &Desk, query: &str) -> Answer {
    let query = rows_query(query)?;
    let data: Vec<Entry> = desk.store.charges(&query).await?;
    Ok(json(StatusCode::OK, &List { data }))
}

fn rows_query(text: &str) -> Result<Query, Failed> {
    let mut query = Query::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        let number = || {
            value.parse::<u64>().map_err(|_| Failed::bad_request(format!("`{name}` must be a whole number")))
        };
        match name {
            "from_ms" => query.from_ms = number()?,
            "to_ms" => query.to_ms = number()?,
            "scope" => query.scope = Some(value),
            "request_id" => query.request_id = Some(value),
            "limit" => {
                let limit = usize::try_from(number()?).ok().filter(|limit| (1..=MOST_ROWS).contains(limit));
                query.limit = limit
                    .ok_or_else(|| Failed::bad_request(format!("`limit` must be from 1 to {MOST_ROWS}")))?;
            }
            "after" => {
                let after =
                    value.split_once(',').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
                query.after = Some(after.ok_or_else(|| {
                    Failed::bad_request(
                        "`after` must be the `at_ms` and the `request_id` of a row, with a comma between",
                    )
                })?);
            }
            _ => return Err(Failed::bad_request(format!("there is no parameter `{name}`"))),
        }
    }
    Ok(query)
}

fn metrics(desk: &Desk) -> Response<Full<Bytes>> {
    let now = LedgerView::of(&desk.store.condition()).condition;
    let mut text = String::from(
        "# HELP tollgate_ledger_condition Whether the ledger is in this condition.\n\
         # TYPE tollgate_ledger_condition gauge\n",
    );
    for condition in ["sound", "degraded", "down"] {
        let value = u8::from(condition == now);
        text.push_str(&format!("tollgate_ledger_condition{{condition=\"{condition}\"}} {value}\n"));
    }
    bytes(StatusCode::OK, "text/plain; version=0.0.4", text.into_bytes())
}

/// Reads a JSON body; an empty one is an empty object.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failed> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = object(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|wrong: serde_json::Error| Failed::bad_request(format!("the body cannot be read: {wrong}")))
}

fn decoded(text: &str) -> Result<String, Failed> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Failed::bad_request("the path is not UTF-8"))
}

/// What a limit counts, in words.
fn unit(unit: wit::Unit) -> &'static str {
    match unit {
        wit::Unit::Requests => "requests",
        wit::Unit::Tokens => "tokens",
        wit::Unit::Concurrent => "concurrent",
        wit::Unit::Money => "nano",
    }
}
