//! What every exchange of a gateway is served with: a configuration that can be swapped, and all that stays.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tollgate_ledger::Store;

use crate::books::Books;
use crate::generation::{Environment, Files, Generation, NotLoaded};
use crate::keyring::Keyring;
use crate::load::Load;
use crate::policy::{Component, Engine, LoadError};

pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
pub(crate) type RequestIds = Arc<dyn Fn() -> String + Send + Sync>;
pub(crate) type Randomness = Arc<dyn Fn() -> u64 + Send + Sync>;
pub(crate) type Pause = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Where the policy comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PolicySource {
    /// The one built into this library.
    #[default]
    Embedded,
    /// A component in a file, read again at every reload.
    File(PathBuf),
}

impl PolicySource {
    /// The policy, compiled.
    pub(crate) fn component(&self, engine: &Engine) -> Result<Component, LoadError> {
        match self {
            Self::Embedded => engine.embedded(),
            Self::File(path) => engine.from_file(path),
        }
    }
}

/// What outlives a reload.
pub(crate) struct Shell {
    pub engine: Engine,
    pub source: PolicySource,
    pub environment: Environment,
    pub files: Files,
    pub store: Arc<dyn Store>,
    pub keyring: Keyring,
    pub books: Books,
    pub clock: Clock,
    pub request_ids: RequestIds,
    pub random: Randomness,
    pub pause: Pause,
    pub load: Load,
    pub current: RwLock<Arc<Generation>>,
    pub draining: AtomicBool,
}

impl Shell {
    /// The configuration in force.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force.
    ///
    /// # Errors
    /// Why it cannot be; then the present one stays.
    pub(crate) fn reload(&self, config: &str) -> Result<(), NotLoaded> {
        let component = self.source.component(&self.engine)?;
        let before = self.generation();
        let (generation, _) =
            Generation::load(config, component, &self.environment, &self.files, Some(&before))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(generation);
        Ok(())
    }

    /// No more requests should come.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether no more should come.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
