//! The gateway as a service, and what it is made of: a configuration that can be swapped, and all that stays.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use tollgate_document::Problem;
use tollgate_ledger::{Condition, Memory, Store};

use crate::body::Body;
use crate::books::Books;
use crate::config::{Config, SHELL_TABLES, Secrets};
use crate::exchange::{self, Exchange, Failure};
use crate::keyring::Keyring;
use crate::policy::{Component, Engine, LoadError, Policy, Refused};
use crate::upstream::Upstream;

/// How often leases are looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
type RequestIds = Arc<dyn Fn() -> String + Send + Sync>;
type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A gateway: cheap to clone, and a [`tower_service::Service`] that any server of `http` types can mount.
#[derive(Clone)]
pub struct Gateway {
    shell: Arc<Shell>,
}

/// Where the policy comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PolicySource {
    /// The one built into this library.
    #[default]
    Embedded,
    /// A component in a file, read again at every reload.
    File(PathBuf),
}

/// Why a configuration is not in force.
#[derive(Debug)]
pub enum NotLoaded {
    /// It has problems; all of them.
    Problems(Vec<Problem>),
    /// The policy component cannot be used.
    Policy(String),
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(cause) => write!(f, "the policy component cannot be used: {cause}"),
            Self::Problems(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}")?;
                    if let Some(line) = problem.line {
                        write!(f, "line {line}: ")?;
                    }
                    if !problem.at.is_empty() {
                        write!(f, "{}: ", problem.at)?;
                    }
                    f.write_str(&problem.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for NotLoaded {}

impl From<LoadError> for NotLoaded {
    fn from(error: LoadError) -> Self {
        Self::Policy(error.to_string())
    }
}

/// What outlives a reload.
pub(crate) struct Shell {
    engine: Engine,
    source: PolicySource,
    environment: Environment,
    pub store: Arc<dyn Store>,
    pub keyring: Keyring,
    pub books: Books,
    pub clock: Clock,
    pub request_ids: RequestIds,
    current: RwLock<Arc<Generation>>,
    draining: AtomicBool,
}

/// One loaded configuration. An exchange keeps the one it began with.
pub(crate) struct Generation {
    pub config: Config,
    pub policy: Policy,
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    pub request_headers: Vec<HeaderName>,
    pub forward_headers: Vec<HeaderName>,
    pub answer_headers: Vec<HeaderName>,
    pub relay_headers: Vec<HeaderName>,
}

impl Shell {
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generation {
    /// Checks all of a configuration, so that every problem is found at once, and loads it.
    fn load(
        text: &str,
        component: Component,
        environment: &Environment,
        before: Option<&Self>,
    ) -> Result<(Self, Secrets), NotLoaded> {
        let shell = Config::read(text);
        let names = match &shell {
            Ok(config) => config.upstreams.keys().cloned().collect(),
            // The policy's problems are worth hearing although the shell has its own.
            Err(_) => declared_upstreams(text),
        };
        let tables = SHELL_TABLES.iter().map(|table| (*table).to_owned()).collect();
        let policy = Policy::load(component, text.to_owned(), tables, names);
        let mut problems = Vec::new();
        let secrets = match &shell {
            Ok(config) => config.secrets(&**environment).unwrap_or_else(|missing| {
                problems.extend(missing);
                Secrets::default()
            }),
            Err(found) => {
                problems.extend(found.iter().cloned());
                Secrets::default()
            }
        };
        let policy = match policy {
            Ok(policy) => Some(policy),
            Err(Refused::Problems(found)) => {
                problems.extend(found);
                None
            }
            Err(Refused::Broken(broken)) => return Err(NotLoaded::Policy(broken.to_string())),
        };
        let (Ok(config), Some(policy), true) = (shell, policy, problems.is_empty()) else {
            problems.sort_by(|one, other| (one.line, &one.at).cmp(&(other.line, &other.at)));
            // Where the file is no TOML, both readers say so.
            problems.dedup();
            return Err(NotLoaded::Problems(problems));
        };

        let mut upstreams = BTreeMap::new();
        for (name, settings) in &config.upstreams {
            let secret = secrets.upstreams.get(name);
            // An upstream that did not change keeps its connections.
            let kept = before.and_then(|before| before.upstreams.get(name)).filter(|u| u.is(settings, secret));
            let upstream = match kept {
                Some(upstream) => Arc::clone(upstream),
                None => Arc::new(
                    Upstream::new(settings.clone(), secret)
                        .map_err(|error| NotLoaded::Policy(error.to_string()))?,
                ),
            };
            upstreams.insert(name.clone(), upstream);
        }
        let headers = policy.headers().clone();
        let generation = Self {
            config,
            upstreams,
            request_headers: names_of(&headers.request)?,
            forward_headers: names_of(&headers.forward)?,
            answer_headers: names_of(&headers.answer)?,
            relay_headers: names_of(&headers.relay)?,
            policy,
        };
        Ok((generation, secrets))
    }
}

/// The names under `[upstreams]`, whatever is wrong with them.
fn declared_upstreams(text: &str) -> Vec<String> {
    let Ok(document) = tollgate_document::parse(text) else { return Vec::new() };
    let table = document.get_ref().get("upstreams").and_then(|value| value.get_ref().as_table());
    table.map_or_else(Vec::new, |table| table.keys().map(|name| name.get_ref().to_string()).collect())
}

fn names_of(names: &[String]) -> Result<Vec<HeaderName>, NotLoaded> {
    let read = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()));
    read.collect::<Result<_, _>>()
        .map_err(|_| NotLoaded::Policy("it asks for a header whose name is not a name".into()))
}

/// The makings of a [`Gateway`]. Every part has a default that is right for a server of its own.
pub struct Builder {
    config: String,
    source: PolicySource,
    environment: Environment,
    store: Option<Arc<dyn Store>>,
    clock: Clock,
    request_ids: RequestIds,
}

impl Builder {
    /// Takes the policy from there. Default: the embedded one.
    #[must_use]
    pub fn policy(mut self, source: PolicySource) -> Self {
        self.source = source;
        self
    }

    /// Keeps books and keys in this store, whatever the configuration says. Default: one in memory.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Asks this for the time, in milliseconds since the epoch. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Names exchanges with this: unique over all gateways of a ledger, 1 to 64 of `[A-Za-z0-9_-]`.
    /// Default: `req_`, 64 random bits of this process, a counter.
    #[must_use]
    pub fn request_ids(mut self, ids: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.request_ids = Arc::new(ids);
        self
    }

    /// Looks up credentials here. Default: the process's environment.
    #[must_use]
    pub fn environment(mut self, look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Arc::new(look_up);
        self
    }

    /// Loads the configuration, and keeps books and keys in memory if no store was given.
    ///
    /// # Errors
    /// Every problem of the configuration and of the environment, or a policy component that cannot be used.
    pub fn build(mut self) -> Result<Gateway, NotLoaded> {
        let store = self.store.take().unwrap_or_else(|| Arc::new(Memory::default()));
        Ok(self.load()?.with_store(store))
    }

    /// Loads the configuration. The store that it names is the caller's to open: see [`crate::store::open`].
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn load(self) -> Result<Loaded, NotLoaded> {
        let engine = Engine::new()?;
        let component = component(&engine, &self.source)?;
        let (generation, secrets) = Generation::load(&self.config, component, &self.environment, None)?;
        Ok(Loaded { builder: self, engine, generation, secrets })
    }
}

/// A configuration without a problem, that has no store yet.
pub struct Loaded {
    builder: Builder,
    engine: Engine,
    generation: Generation,
    secrets: Secrets,
}

impl Loaded {
    /// The shell's part of the configuration.
    pub fn config(&self) -> &Config {
        &self.generation.config
    }

    /// What the environment holds for it.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The time as the gateway will tell it, in milliseconds since the epoch.
    pub fn now(&self) -> u64 {
        (self.builder.clock)()
    }

    /// The gateway, with its books and keys in this store.
    pub fn with_store(self, store: Arc<dyn Store>) -> Gateway {
        let shell = Shell {
            engine: self.engine,
            source: self.builder.source,
            environment: self.builder.environment,
            books: Books::new(Arc::clone(&store)),
            keyring: Keyring::new(Arc::clone(&store)),
            store,
            clock: self.builder.clock,
            request_ids: self.builder.request_ids,
            current: RwLock::new(Arc::new(self.generation)),
            draining: AtomicBool::new(false),
        };
        Gateway { shell: Arc::new(shell) }
    }
}

impl Gateway {
    /// Begins to make a gateway from the text of a configuration file.
    pub fn builder(config: impl Into<String>) -> Builder {
        Builder {
            config: config.into(),
            source: PolicySource::default(),
            environment: Arc::new(|name| std::env::var(name).ok()),
            store: None,
            clock: Arc::new(system_clock),
            request_ids: request_ids(),
        }
    }

    /// Puts another configuration in force. Exchanges under way end with the one they began with.
    ///
    /// # Errors
    /// As [`Builder::build`]; then the present configuration stays.
    pub fn reload(&self, config: &str) -> Result<(), NotLoaded> {
        let component = component(&self.shell.engine, &self.shell.source)?;
        let before = self.shell.generation();
        let (generation, _) = Generation::load(config, component, &self.shell.environment, Some(&before))?;
        *self.shell.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(generation);
        Ok(())
    }

    /// The shell's part of the configuration in force.
    pub fn config(&self) -> Config {
        self.shell.generation().config.clone()
    }

    /// The time as the gateway tells it, in milliseconds since the epoch.
    pub fn now(&self) -> u64 {
        (self.shell.clock)()
    }

    /// Where books and keys are kept.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shell.store)
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.shell.generation()
    }

    /// Closes holds whose lease has passed, every second, for ever. [`crate::Server`] does this by itself; who mounts
    /// the gateway elsewhere runs it beside.
    pub async fn tend(&self) {
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            match self.shell.store.expire(self.now()).await {
                Ok(0) => {}
                Ok(lost) => {
                    tracing::warn!(lost, "exchanges were not settled before their lease passed; they are charged as held");
                }
                Err(cause) => tracing::debug!(%cause, "leases could not be looked at"),
            }
        }
    }

    /// Where the policy comes from.
    pub fn policy_source(&self) -> &PolicySource {
        &self.shell.source
    }

    /// Says on `/readyz` that no more requests should come.
    pub fn drain(&self) {
        self.shell.draining.store(true, Ordering::Relaxed);
    }

    /// Waits until every settlement under way is in the ledger, and survives a crash there.
    pub async fn settled(&self) {
        self.shell.books.written().await;
        if let Err(cause) = self.shell.store.flush().await {
            tracing::error!(%cause, "the ledger did not write what it has");
        }
    }

    /// The policy's reply to a request that the server could not even read.
    pub(crate) fn refuse(&self, failure: &Failure) -> Response<Body> {
        Exchange::begin(Arc::clone(&self.shell)).refuse(failure)
    }

    fn probe(&self, path: &str) -> Response<Body> {
        let (status, text): (u16, String) = if path == "/healthz" {
            (200, "ok\n".into())
        } else if self.shell.draining.load(Ordering::Relaxed) {
            (503, "draining\n".into())
        } else {
            match self.shell.store.condition() {
                Condition::Sound => (200, "ok\n".into()),
                // It still serves who has no budget; taking every server away would serve nobody.
                Condition::Degraded(why) => (200, format!("degraded: {why}\n")),
                Condition::Down(why) => (503, format!("the ledger is down: {why}\n")),
            }
        };
        let mut response = Response::new(Body::whole(text.into()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
        response
    }
}

fn component(engine: &Engine, source: &PolicySource) -> Result<Component, LoadError> {
    match source {
        PolicySource::Embedded => engine.embedded(),
        PolicySource::File(path) => engine.from_file(path),
    }
}

impl<B> tower_service::Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if matches!(path, "/healthz" | "/readyz") && matches!(*request.method(), Method::GET | Method::HEAD) {
            let response = self.probe(path);
            return Box::pin(std::future::ready(Ok(response)));
        }
        let exchange = exchange::serve(Arc::clone(&self.shell), request);
        Box::pin(async move { Ok(exchange.await) })
    }
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Ids that no other process makes: 64 random bits, then a counter.
fn request_ids() -> RequestIds {
    use std::hash::{BuildHasher as _, Hasher as _};
    // The standard library seeds this from the system's randomness. Ids need to be unique, not secret.
    let process = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let next = AtomicU64::new(0);
    Arc::new(move || format!("req_{process:016x}{:08x}", next.fetch_add(1, Ordering::Relaxed)))
}
