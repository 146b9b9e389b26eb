//! What `GET /v1/models` says: the models that the caller's key may use, and nothing about others.

use serde::Serialize;

use crate::config::{Allowed, Config};
use crate::message::{Own, OwnHeader, Reply};
use crate::refusal::Refusal;

#[derive(Serialize)]
struct List<'c> {
    object: &'static str,
    data: Vec<Entry<'c>>,
}

#[derive(Serialize)]
struct Entry<'c> {
    id: &'c str,
    object: &'static str,
    /// When a model was made is not known here; the field is required.
    created: u64,
    owned_by: &'static str,
}

impl<'c> Entry<'c> {
    fn new(id: &'c str) -> Self {
        Self { id, object: "model", created: 0, owned_by: "tollgate" }
    }
}

/// Every model of the caller.
pub fn list(config: &Config, allowed: &Allowed) -> Reply {
    let data = config.models_in(allowed).map(|model| Entry::new(&model.name)).collect();
    ok(&List { object: "list", data })
}

/// One model.
pub fn one(config: &Config, allowed: &Allowed, id: &str) -> Reply {
    match config.model_named(id) {
        Some((index, model)) if allowed.contains(index) => ok(&Entry::new(&model.name)),
        _ => Refusal::UnknownModel(id.to_owned()).reply(Vec::new()),
    }
}

fn ok(body: &impl Serialize) -> Reply {
    let content_type = OwnHeader::new(Own::ContentType, "application/json");
    // Writing strings to memory does not fail.
    Reply { status: 200, headers: vec![content_type], body: serde_json::to_vec(body).unwrap_or_default() }
}
