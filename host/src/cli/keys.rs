//! `tollgate keys`: keys made at run time, in the store that the configuration names. Works while the server runs.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollgate::operator::{Operator, Terms};
use tollgate::{duration, key};
use tollgate_ledger::keys::{Key, Limits, Priority, digest_text, wrong_with_name};

use super::{operator, print};

/// What to do with keys.
#[derive(Subcommand)]
pub enum Keys {
    /// Make a key and print its secret, once. Without --config: print a table for a configuration file instead.
    New {
        /// Its name: `organisation/team/key`, `organisation/key` or `key`.
        #[arg(default_value = "new-key")]
        name: String,
        #[command(flatten)]
        change: Change,
        /// The configuration file that names the store.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// List the keys of the store.
    List {
        #[command(flatten)]
        store: StoreArg,
        /// As JSON, one key a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one key, or the limits of a scope.
    Show {
        /// The name of the key.
        name: String,
        /// It is the name of a scope.
        #[arg(long)]
        scope: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Give a key another secret and print it, once.
    Rotate {
        /// The name of the key.
        name: String,
        /// How long the secrets before stay valid.
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        overlap: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// End a key, for ever.
    Revoke {
        /// The name of the key.
        name: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Change what a key may do, or what the keys of a scope may use together. What is not named stays.
    Limit {
        /// The name of the key.
        name: String,
        /// It is the name of a scope: an organisation, or `organisation/team`.
        #[arg(long)]
        scope: bool,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// Which store.
#[derive(Args)]
pub struct StoreArg {
    /// The configuration file that names the store.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What a key may do, as far as it is named. `none` takes a limit away.
#[derive(Args)]
pub struct Change {
    /// The models it may use, with commas between; `all` for every model.
    #[arg(long, value_name = "MODELS")]
    models: Option<String>,
    /// Requests in a window: `100/1m`.
    #[arg(long, value_name = "N/DURATION")]
    requests: Option<String>,
    /// Tokens in a window: `200000/1m`.
    #[arg(long, value_name = "N/DURATION")]
    tokens: Option<String>,
    /// Exchanges at once.
    #[arg(long, value_name = "N")]
    concurrent: Option<String>,
    /// Money in a period of the calendar: `10 USD/month`. More than once for several.
    #[arg(long, value_name = "AMOUNT CURRENCY/PERIOD")]
    budget: Vec<String>,
    /// `urgent`, `normal` or `batch`.
    #[arg(long)]
    priority: Option<String>,
    /// A word that routes can ask for: 1 to 64 of `A-Z a-z 0-9 . _ : -`. More than once for several; `none` for none.
    #[arg(long, value_name = "WORD")]
    tag: Vec<String>,
    /// When it stops to be valid: `2027-01-01`, `2027-01-01T12:00:00Z`, `90d`, or `never`.
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

/// Does what was asked for.
pub async fn run(keys: Keys) -> Result<()> {
    match keys {
        Keys::New { name, change, config: None } => {
            if change.is_some() {
                bail!(
                    "limits of a key in a configuration file are written there; name the file with --config to \
                       keep the key in the store"
                );
            }
            for_configuration(&name)
        }
        Keys::New { name, change, config: Some(config) } => {
            let mut terms = Terms::default();
            change.apply(&mut terms)?;
            let (key, secret) = operator(&config).await?.create(&name, &terms).await?;
            shown_once(&key, &secret)
        }
        Keys::List { store, json } => list(&operator(&store.config).await?, json).await,
        Keys::Show { name, scope: true, store } => {
            let scope = operator(&store.config).await?.scope(&name).await?;
            print(&format!("scope     {name}\nlimits    {}\n", limits_text(&scope.limits)))
        }
        Keys::Show { name, scope: false, store } => {
            let key = operator(&store.config).await?.key(&name).await?;
            print(&details(&key))
        }
        Keys::Rotate { name, overlap, store } => {
            let overlap_ms = match overlap.as_str() {
                "0" | "none" => 0,
                text => duration(text)
                    .ok_or_else(|| anyhow!("`{text}` is not a duration such as 30m, 1h or 7d"))?,
            };
            let (key, secret) = operator(&store.config).await?.rotate(&name, overlap_ms).await?;
            shown_once(&key, &secret)
        }
        Keys::Revoke { name, store } => {
            operator(&store.config).await?.revoke(&name).await?;
            print(&format!("revoked {name}; every server refuses it within 5 seconds\n"))
        }
        Keys::Limit { name, scope: true, change, store } => {
            let operator = operator(&store.config).await?;
            if change.is_for_keys_only() {
                bail!("a scope has limits only: no models, priority, tags or expiry");
            }
            change.apply(&mut Terms::default())?;
            let scope = operator.set_limits(&name, |limits| change.apply_limits(limits)).await?;
            print(&format!("scope     {name}\nlimits    {}\n", limits_text(&scope.limits)))
        }
        Keys::Limit { name, scope: false, change, store } => {
            change.apply(&mut Terms::default())?;
            let set = |terms: &mut Terms| {
                // It was applied above without a problem.
                let _ = change.apply(terms);
            };
            let key = operator(&store.config).await?.set_terms(&name, set).await?;
            print(&details(&key))
        }
    }
}

/// A key for a configuration file, which keeps only its digest.
fn for_configuration(name: &str) -> Result<()> {
    if let Some(wrong) = wrong_with_name(name, 3) {
        bail!("name: {wrong}");
    }
    let key = key::Secret::generate()?;
    print(&format!(
        "{}\n\nThe key above is shown this once. Into the configuration goes its digest:\n\n\
         [[keys]]\nname = {name:?}\ndigest = \"{}\"\n",
        key.reveal(),
        key.digest()
    ))
}

fn shown_once(key: &Key, secret: &key::Secret) -> Result<()> {
    print(&format!(
        "{}\n\nThe key above is shown this once; the store has only its digest.\n\n{}",
        secret.reveal(),
        details(key)
    ))
}

async fn list(operator: &Operator, json: bool) -> Result<()> {
    let keys = operator.keys().await?;
    let scopes = operator.scopes().await?;
    let mut text = String::new();
    if json {
        for key in &keys {
            text.push_str(&serde_json::to_string(key)?);
            text.push('\n');
        }
        return print(&text);
    }
    for key in &keys {
        let state = if key.revoked_ms.is_some() { "revoked" } else { key.priority.as_str() };
        text.push_str(&format!("{:<40} {state:<8} {}\n", key.name, limits_text(&key.limits)));
    }
    for scope in &scopes {
        text.push_str(&format!(
            "{:<40} {:<8} {}\n",
            format!("{}/*", scope.name),
            "scope",
            limits_text(&scope.limits)
        ));
    }
    if keys.is_empty() {
        text.push_str("no keys in the store; `tollgate keys new NAME --config FILE` makes one\n");
    }
    print(&text)
}

fn details(key: &Key) -> String {
    let models = key.models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(", "));
    let mut text = format!(
        "key       {}\nmodels    {models}\nlimits    {}\npriority  {}\ncreated   {}\n",
        key.name,
        limits_text(&key.limits),
        key.priority.as_str(),
        time(key.created_ms),
    );
    if !key.tags.is_empty() {
        text.push_str(&format!("tags      {}\n", key.tags.join(", ")));
    }
    if let Some(expires_ms) = key.expires_ms {
        text.push_str(&format!("expires   {}\n", time(expires_ms)));
    }
    if let Some(revoked_ms) = key.revoked_ms {
        text.push_str(&format!("revoked   {}\n", time(revoked_ms)));
    }
    for secret in &key.secrets {
        let id: String = digest_text(&secret.digest).chars().take(12).collect();
        let until = match (key.revoked_ms, secret.ends_ms) {
            (Some(_), _) => "no more".to_owned(),
            (None, Some(end)) => format!("until {}", time(end)),
            (None, None) => "now".to_owned(),
        };
        text.push_str(&format!("secret    {id}.. made {}, valid {until}\n", time(secret.created_ms)));
    }
    text
}

fn limits_text(limits: &Limits) -> String {
    let requests = limits.requests.as_ref().map(|text| format!("requests {text}"));
    let tokens = limits.tokens.as_ref().map(|text| format!("tokens {text}"));
    let concurrent = limits.concurrent.map(|number| format!("concurrent {number}"));
    let budgets = limits.budgets.iter().map(|text| format!("budget {text}"));
    let texts: Vec<String> = requests.into_iter().chain(tokens).chain(concurrent).chain(budgets).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).ok();
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "?".to_owned(), |time| time.to_string())
}

impl Change {
    fn is_some(&self) -> bool {
        self.is_for_keys_only()
            || self.requests.is_some()
            || self.tokens.is_some()
            || self.concurrent.is_some()
            || !self.budget.is_empty()
    }

    fn is_for_keys_only(&self) -> bool {
        self.models.is_some() || self.priority.is_some() || !self.tag.is_empty() || self.expires.is_some()
    }

    fn apply(&self, terms: &mut Terms) -> Result<()> {
        if let Some(text) = &self.concurrent
            && text != "none"
            && text.parse::<u64>().is_err()
        {
            bail!("`--concurrent {text}` must be a whole number or `none`");
        }
        self.apply_limits(&mut terms.limits);
        if let Some(models) = &self.models {
            let list = || models.split(',').map(|model| model.trim().to_owned()).collect();
            terms.models = (models != "all").then(list);
        }
        if let Some(priority) = &self.priority {
            terms.priority = Priority::parse(priority)
                .ok_or_else(|| anyhow!("`--priority {priority}` must be urgent, normal or batch"))?;
        }
        if !self.tag.is_empty() {
            terms.tags = self.tag.iter().filter(|tag| *tag != "none").cloned().collect();
        }
        if let Some(when) = &self.expires {
            terms.expires_ms = if when == "never" { None } else { Some(moment(when)?) };
        }
        Ok(())
    }

    fn apply_limits(&self, limits: &mut Limits) {
        let text = |text: &String| (text != "none").then(|| text.clone());
        if let Some(requests) = &self.requests {
            limits.requests = text(requests);
        }
        if let Some(tokens) = &self.tokens {
            limits.tokens = text(tokens);
        }
        if let Some(concurrent) = &self.concurrent {
            limits.concurrent = concurrent.parse().ok();
        }
        if !self.budget.is_empty() {
            limits.budgets = self.budget.iter().filter_map(text).collect();
        }
    }
}

/// Milliseconds since the epoch of a moment, or of as long from now.
pub fn moment(text: &str) -> Result<u64> {
    let now = Timestamp::now();
    let at = if let Some(span_ms) = duration(text) {
        now.as_millisecond().checked_add(i64::try_from(span_ms)?)
    } else if let Ok(at) = text.parse::<Timestamp>() {
        Some(at.as_millisecond())
    } else {
        let midnight = text.parse::<jiff::civil::DateTime>().ok();
        midnight.and_then(|at| Some(at.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
    };
    at.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| {
        anyhow!("`{text}` is neither a moment such as 2027-01-01 or 2027-01-01T12:00:00Z nor a duration such as 90d")
    })
}
