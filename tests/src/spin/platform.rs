//! A small host for a Spin component: WASI, `wasi:http`, and the two interfaces of Spin that the shell imports.
//!
//! Time stands still at the vector's instant, randomness is the vector's, and nobody sleeps: a wait is noted.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate_stepwise::{Database as _, Value as Kept};
use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, Lower, Resource, ResourceTable, ResourceType,
};
use wasmtime::{Config, StoreContextMut};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p3::bindings::{ServicePre, http::types::ErrorCode};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::database::File;
use crate::vector::Unavailable;

static SHELL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin.wasm"));
static PORTABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portable.wasm"));
static PROVIDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/provider.wasm"));

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
    let policy = Package::from_bytes("policy", None, tollgate::policy::WASM, graph.types_mut())?;
    let (shell, policy) = (graph.register_package(shell)?, graph.register_package(policy)?);
    plug(&mut graph, vec![policy], shell)?;
    Ok(graph.encode(EncodeOptions::default())?)
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
        Self::of(&composed(SHELL).map_err(|error| wasmtime::format_err!("{error:#}"))?, link)
    }

    /// The gateway that needs nothing but WASI; here time goes on and waits are waited.
    ///
    /// # Errors
    /// It does not fit together, or asks for something that is not WASI.
    pub fn portable() -> wasmtime::Result<Self> {
        Self::of(&composed(PORTABLE).map_err(|error| wasmtime::format_err!("{error:#}"))?, |_| Ok(()))
    }

    /// The simulated provider.
    ///
    /// # Errors
    /// It asks for something that Spin does not have.
    pub fn provider() -> wasmtime::Result<Self> {
        Self::of(PROVIDER, link)
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

/// What an instance's store holds.
pub struct State {
    world: Arc<World>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
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

/// A value of Spin's SQLite.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Value {
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "real")]
    Real(f64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "blob")]
    Blob(Vec<u8>),
    #[component(name = "null")]
    Null,
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct RowResult {
    #[component(name = "values")]
    values: Vec<Value>,
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct QueryResult {
    #[component(name = "columns")]
    columns: Vec<String>,
    #[component(name = "rows")]
    rows: Vec<RowResult>,
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum SqliteError {
    #[component(name = "no-such-database")]
    NoSuchDatabase,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "invalid-connection")]
    InvalidConnection,
    #[component(name = "database-full")]
    DatabaseFull,
    #[component(name = "io")]
    Io(String),
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum VariablesError {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.3.0")?;
    clock.func_wrap_concurrent("wait-for", |accessor, (span,): (u64,)| {
        accessor.with(|mut access| access.get().world.waiting.lock().unwrap().push(span / 1_000_000));
        Box::pin(std::future::ready(Ok(())))
    })?;
    let mut random = linker.instance("wasi:random/random@0.3.0")?;
    random.func_wrap("get-random-u64", |store: StoreContextMut<'_, State>, (): ()| {
        let others = || RandomState::new().build_hasher().finish();
        Ok((store.data().world.random.unwrap_or_else(others),))
    })?;
    let mut variables = linker.instance("spin:variables/variables@3.0.0")?;
    variables.func_wrap_concurrent("get", |accessor, (name,): (String,)| {
        let value = accessor.with(|mut access| access.get().world.variables.get(&name).cloned());
        Box::pin(std::future::ready(Ok((value.ok_or(VariablesError::Undefined(name)),))))
    })?;
    let mut sqlite = linker.instance("spin:sqlite/sqlite@3.1.0")?;
    sqlite.resource("connection", ResourceType::host::<File>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<File>::new_own(handle))?;
        Ok(())
    })?;
    sqlite.func_wrap(
        "[static]connection.open",
        |mut store: StoreContextMut<'_, State>, (_,): (String,)| {
            let State { world, table, .. } = store.data_mut();
            if world.unavailable == Some(Unavailable::Always) {
                return Ok((Err(SqliteError::AccessDenied),));
            }
            Ok((Ok(table.push(File::open(&world.database).map_err(wasmtime::Error::msg)?)?),))
        },
    )?;
    sqlite.func_wrap(
        "[method]connection.execute",
        |mut store: StoreContextMut<'_, State>,
         (connection, statement, values): (Resource<File>, String, Vec<Value>)| {
            let State { world, table, .. } = store.data_mut();
            let file = table.get_mut(&connection)?;
            let values: Vec<Kept> = values.into_iter().map(taken).collect();
            if world.unavailable.is_some() && is_raise(file, &statement, &values) {
                return Ok((Err(SqliteError::Io("down for a test".into())),));
            }
            Ok((file.run(&statement, &values).map(result).map_err(SqliteError::Io),))
        },
    )
}

/// Whether a hold that is there is written again: that is how one is raised.
fn is_raise(file: &mut File, statement: &str, values: &[Kept]) -> bool {
    statement.starts_with("INSERT INTO holds")
        && !file.run("SELECT 1 FROM holds WHERE request_id = ?1", &values[..1]).unwrap().is_empty()
}

fn taken(value: Value) -> Kept {
    match value {
        Value::Integer(number) => Kept::Integer(number),
        Value::Text(text) => Kept::Text(text),
        Value::Null => Kept::Null,
        Value::Real(_) | Value::Blob(_) => panic!("the ledger writes neither"),
    }
}

fn result(rows: Vec<tollgate_stepwise::Row>) -> QueryResult {
    let value = |value| match value {
        Kept::Integer(number) => Value::Integer(number),
        Kept::Text(text) => Value::Text(text),
        Kept::Null => Value::Null,
    };
    let rows = rows.into_iter().map(|row| RowResult { values: row.0.into_iter().map(value).collect() });
    QueryResult { columns: Vec::new(), rows: rows.collect() }
}
