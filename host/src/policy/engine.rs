//! Compiling and loading policy components.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;

use super::bindings::GatePre;
use super::pool::State;

include!("../engine_config.rs");

/// How often the epoch advances: the grain of every deadline.
const TICK: Duration = Duration::from_millis(10);

static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/policy.cwasm"));
/// The component that is built into this library, as bytes for other tools.
pub static WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/policy.wasm"));

/// What makes a policy component unusable, before any configuration is looked at.
#[derive(Debug)]
pub struct LoadError(String);

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    fn new(what: &str, cause: &wasmtime::Error) -> Self {
        Self(format!("{what}: {cause:#}"))
    }
}

/// The machinery shared by all components of a process: compiler settings and the clock of their deadlines.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// Starts an engine and its ticking thread, which ends with the last clone.
    ///
    /// # Errors
    /// When the machine cannot run compiled code, or has no room for a thread.
    pub fn new() -> Result<Self, LoadError> {
        let engine = wasmtime::Engine::new(&engine_config())
            .map_err(|e| LoadError::new("wasmtime does not start", &e))?;
        let ticker = Ticker::start(engine.clone())
            .map_err(|e| LoadError(format!("the thread that guards deadlines does not start: {e}")))?;
        Ok(Self { engine, _ticker: Arc::new(ticker) })
    }

    /// The policy that is built into this library.
    ///
    /// # Errors
    /// When the machine can neither run the image compiled ahead of time nor compile the component anew.
    pub fn embedded(&self) -> Result<Component, LoadError> {
        match self.load_image(IMAGE) {
            Ok(component) => self.link(component),
            Err(cause) => {
                tracing::warn!(%cause, "this processor differs from the one the policy was compiled for; compiling it again");
                self.compile(WASM)
            }
        }
    }

    /// A policy from a file: a component in binary or text form.
    ///
    /// # Errors
    /// When the file cannot be read, is no component, or does not export the world `tollgate:policy/gate`.
    pub fn from_file(&self, path: &Path) -> Result<Component, LoadError> {
        let bytes = std::fs::read(path)
            .map_err(|e| LoadError(format!("the policy {} cannot be read: {e}", path.display())))?;
        self.compile(&bytes).map_err(|LoadError(cause)| LoadError(format!("{}: {cause}", path.display())))
    }

    /// A policy from a component's bytes.
    ///
    /// # Errors
    /// When they are no component, or it does not export the world `tollgate:policy/gate`.
    pub fn compile(&self, wasm: &[u8]) -> Result<Component, LoadError> {
        let component = wasmtime::component::Component::new(&self.engine, wasm)
            .map_err(|e| LoadError::new("not a usable component", &e))?;
        self.link(component)
    }

    #[expect(
        unsafe_code,
        reason = "the image is made by our build script, and its header is checked by wasmtime"
    )]
    fn load_image(&self, image: &[u8]) -> wasmtime::Result<wasmtime::component::Component> {
        // SAFETY: the bytes come from `Engine::precompile_component` in build.rs and are part of this binary.
        unsafe { wasmtime::component::Component::deserialize(&self.engine, image) }
    }

    /// Grants nothing: whatever a component imports traps when it is called.
    fn link(&self, component: wasmtime::component::Component) -> Result<Component, LoadError> {
        let mut linker = Linker::<State>::new(&self.engine);
        let pre = linker
            .define_unknown_imports_as_traps(&component)
            .and_then(|()| linker.instantiate_pre(&component))
            .and_then(GatePre::new)
            .map_err(|e| LoadError::new("the component is not a tollgate:policy/gate", &e))?;
        Ok(Component { engine: self.clone(), pre })
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// A time span in epochs, rounded up, and one more because the present one has partly passed.
    pub(super) fn epochs(span: Duration) -> u64 {
        let ticks = span.as_millis().div_ceil(TICK.as_millis());
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).saturating_add(1)
    }
}

/// A policy component, compiled and linked, not yet configured.
#[derive(Clone)]
pub struct Component {
    pub(super) engine: Engine,
    pub(super) pre: GatePre<State>,
}

struct Ticker {
    stop: Arc<AtomicBool>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::Builder::new().name("tollgate-epoch".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
