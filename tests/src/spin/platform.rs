//! A small host for a Spin component: WASI, `wasi:http`, and the interfaces of Spin that the shell imports.
//!
//! Time stands still at the vector's instant and randomness is the vector's. A wait is noted and over, unless the test
//! is about time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p3::bindings::{ServicePre, http::types::ErrorCode};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::{interfaces, redis};
use crate::vector::{Unavailable, Vector};

static POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/policy.wasm"));
static SHELL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin.wasm"));
static PORTABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portable.wasm"));
static PROVIDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/provider.wasm"));

/// The waits between the tries to settle with a ledger that never answers.
const PAUSES_MS: [u64; 3] = [200, 2_000, 10_000];

/// What a component finds around it.
#[derive(Default)]
pub struct World {
    /// The application's variables.
    pub variables: BTreeMap<String, String>,
    /// The variables of the environment, where there are no others.
    pub environment: Vec<(String, String)>,
    /// The default database's file.
    pub database: PathBuf,
    /// When it cannot be asked.
    pub unavailable: Option<Unavailable>,
    /// What time it is.
    pub now_ms: u64,
    /// The random bits of every call; none: others in every call.
    pub random: Option<u64>,
    /// Whether a wait takes its time. Otherwise it is over at once, and noted.
    pub is_awake: bool,
    /// Waits that never end, in milliseconds: those for a ledger that always answers.
    pub unending: Vec<u64>,
    /// The milliseconds that were waited; see [`World::waits`].
    pub waiting: Mutex<Vec<u64>>,
    /// What every instance wrote; see [`World::log`].
    pub logs: Mutex<Vec<MemoryOutputPipe>>,
}

impl World {
    /// The milliseconds that were waited, one by one.
    pub fn waits(&self) -> Vec<u64> {
        self.waiting.lock().unwrap().clone()
    }

    /// Those that the policy asked for in a vector. Where its ledger never answers, the tries to settle come besides.
    pub fn waits_of(&self, vector: &Vector) -> Vec<u64> {
        let waits = self.waits();
        if vector.ledger_unavailable == Some(Unavailable::Always) {
            assert_eq!(waits, PAUSES_MS, "a settlement is tried four times");
            return Vec::new();
        }
        waits
    }

    /// What every instance wrote.
    pub fn log(&self) -> String {
        let logs = self.logs.lock().unwrap();
        logs.iter().map(|log| String::from_utf8(log.contents().to_vec()).unwrap()).collect()
    }
}

/// A shell with the policy in it, as Spin puts them together, and `cargo xtask edge`.
fn composed(shell: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let shell = Package::from_bytes("shell", None, shell, graph.types_mut())?;
    let policy = Package::from_bytes("policy", None, POLICY, graph.types_mut())?;
    let (shell, policy) = (graph.register_package(shell)?, graph.register_package(policy)?);
    plug(&mut graph, vec![policy], shell)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

/// The shells, and how many bytes each is with the policy.
pub fn sizes() -> [(&'static str, usize); 2] {
    let with_policy = |shell: &[u8]| shell.len() + POLICY.len();
    [
        ("the shell for Spin", with_policy(SHELL)),
        ("the shell for any host of wasi:http", with_policy(PORTABLE)),
    ]
}

/// The compiled component, and everything it imports.
#[derive(Clone)]
pub struct Engine {
    /// Makes instances.
    pub service: Arc<ServicePre<State>>,
    /// Where they run.
    pub engine: wasmtime::Engine,
}

impl Engine {
    /// The gateway.
    ///
    /// # Errors
    /// It does not fit together, or asks for something that Spin does not have.
    pub fn gateway() -> wasmtime::Result<Self> {
        Self::of(&composed(SHELL).map_err(|error| wasmtime::format_err!("{error:#}"))?, of_spin)
    }

    /// The gateway that needs nothing but WASI.
    ///
    /// # Errors
    /// It does not fit together, or asks for something that is not WASI.
    pub fn portable() -> wasmtime::Result<Self> {
        Self::of(
            &composed(PORTABLE).map_err(|error| wasmtime::format_err!("{error:#}"))?,
            interfaces::of_wasi,
        )
    }

    /// The simulated provider.
    ///
    /// # Errors
    /// It asks for something that Spin does not have.
    pub fn provider() -> wasmtime::Result<Self> {
        Self::of(PROVIDER, of_spin)
    }

    /// The interfaces that it imports, without what of them.
    pub fn imports(&self) -> Vec<String> {
        let component = self.service.instance_pre().component().component_type();
        component.imports(&self.engine).map(|(name, _)| name.to_owned()).collect()
    }

    fn of(
        component: &[u8],
        link: impl FnOnce(&mut Linker<State>) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model(true).wasm_component_model_async(true);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = wasmtime::Engine::new(&config)?;
        let component = Component::from_binary(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        link(&mut linker)?;
        let service = Arc::new(ServicePre::new(linker.instantiate_pre(&component)?)?);
        Ok(Self { service, engine })
    }
}

/// Room for instances, made beforehand, as Spin and `wasmtime serve` have it: for a crowd that comes at once, since nobody
/// waits here for an instance to end.
fn pool() -> PoolingAllocationConfig {
    const CROWD: u32 = 1_200;
    // The shell, the policy, and the small modules between them.
    const MODULES: u32 = 10;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(CROWD).total_stacks(CROWD);
    pool.total_core_instances(CROWD * MODULES).total_memories(CROWD * 2).total_tables(CROWD * MODULES);
    pool.max_component_instance_size(4 << 20).max_core_instance_size(4 << 20).table_elements(20_000);
    // What Spin keeps of an instance for the one after it.
    pool.linear_memory_keep_resident(2 << 20).table_keep_resident(1 << 19);
    pool
}

/// Everything that Spin has.
fn of_spin(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    interfaces::of_wasi(linker)?;
    interfaces::of_spin(linker)?;
    redis::link(linker)
}

/// What an instance's store holds.
pub struct State {
    pub(super) world: Arc<World>,
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl State {
    /// For one instance in this world.
    pub fn new(world: &Arc<World>) -> Self {
        let log = MemoryOutputPipe::new(1 << 20);
        world.logs.lock().unwrap().push(log.clone());
        let wasi = WasiCtxBuilder::new()
            .stdout(log)
            .envs(&world.environment)
            .wall_clock(Still(world.now_ms))
            .build();
        let (http, table) = (WasiHttpCtx::new(), ResourceTable::new());
        Self { world: Arc::clone(world), wasi, http, hooks: Hooks, table }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// A clock that stands.
struct Still(u64);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Tells a connection that broke from bytes that are no HTTP.
struct Hooks;

impl WasiHttpHooks for Hooks {
    fn p3_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        if error.is_parse() { ErrorCode::HttpProtocolError } else { ErrorCode::ConnectionTerminated }
    }
}
