//! Making a gateway: from the text of a configuration to a service.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate_document::Problem;
use tollgate_ledger::{Memory, Store};
use tollgate_settings::Secrets;

use super::Gateway;
use crate::books::Books;
use crate::config::Config;
use crate::generation::{Environment, Files, Generation, NotLoaded};
use crate::keyring::Keyring;
use crate::load::Load;
use crate::policy::Engine;
use crate::shell::{Clock, Pause, PolicySource, Randomness, RequestIds, Shell};

/// The makings of a [`Gateway`]. Every part has a default that is right for a server of its own.
pub struct Builder {
    config: String,
    source: PolicySource,
    environment: Environment,
    files: Files,
    store: Option<Arc<dyn Store>>,
    clock: Clock,
    request_ids: RequestIds,
    random: Randomness,
    pause: Pause,
}

impl Builder {
    pub(super) fn new(config: String) -> Self {
        Self {
            config,
            source: PolicySource::default(),
            environment: Arc::new(|name| std::env::var(name).ok()),
            files: Arc::new(|path| std::fs::read_to_string(path)),
            store: None,
            clock: Arc::new(system_clock),
            request_ids: request_ids(),
            random: random(),
            pause: Arc::new(|span| Box::pin(tokio::time::sleep(span))),
        }
    }

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

    /// Takes the random bits for weights and for the jitter of waits from here. Default: a generator seeded by the
    /// system.
    #[must_use]
    pub fn random(mut self, bits: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(bits);
        self
    }

    /// Waits like this before another try. Default: by Tokio's timer.
    #[must_use]
    pub fn pause<F>(mut self, pause: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.pause = Arc::new(move |span| Box::pin(pause(span)));
        self
    }

    /// Looks up credentials here. Default: the process's environment.
    #[must_use]
    pub fn environment(mut self, look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Arc::new(look_up);
        self
    }

    /// Reads the files that the configuration names with this. Default: from the file system, relative to the working
    /// directory.
    #[must_use]
    pub fn files(mut self, read: impl Fn(&Path) -> std::io::Result<String> + Send + Sync + 'static) -> Self {
        self.files = Arc::new(read);
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
        let component = self.source.component(&engine)?;
        let (generation, secrets) =
            Generation::load(&self.config, component, &self.environment, &self.files, None)?;
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

    /// What an operator should know of although nothing is wrong with it.
    pub fn notes(&self) -> &[Problem] {
        self.generation.policy.notes()
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
            files: self.builder.files,
            books: Books::new(Arc::clone(&store)),
            keyring: Keyring::new(Arc::clone(&store)),
            store,
            clock: self.builder.clock,
            request_ids: self.builder.request_ids,
            random: self.builder.random,
            pause: self.builder.pause,
            load: Load::default(),
            current: RwLock::new(Arc::new(self.generation)),
            draining: AtomicBool::new(false),
        };
        Gateway { shell: Arc::new(shell) }
    }
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bits of the system. Neither ids nor jitter are secrets.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // The standard library seeds this from the system's randomness.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter whose numbers are mixed, so that any thread can take the next.
fn random() -> Randomness {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let state = AtomicU64::new(seed());
    Arc::new(move || {
        let mut bits = state.fetch_add(GOLDEN, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    })
}

/// Ids that no other process makes: 64 random bits, then a counter.
fn request_ids() -> RequestIds {
    let process = seed();
    let next = AtomicU64::new(0);
    Arc::new(move || {
        let mut id = String::with_capacity(32);
        // Writing to memory does not fail.
        let _ = write!(id, "req_{process:016x}{:08x}", next.fetch_add(1, Ordering::Relaxed));
        id
    })
}
