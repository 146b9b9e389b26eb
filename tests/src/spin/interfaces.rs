//! What the tests' host gives a component in place of WASI's waits and randomness, and of Spin's variables and SQLite.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tollgate_stepwise::{Database as _, Value as Kept};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::database::File;
use super::platform::State;
use crate::vector::Unavailable;

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

/// Waits and randomness, as the world has them.
pub fn of_wasi(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.3.0")?;
    clock.func_wrap_concurrent("wait-for", |accessor, (span,): (u64,)| {
        let world = accessor.with(|mut access| Arc::clone(&access.get().world));
        Box::pin(async move {
            let (span, ms) = (Duration::from_nanos(span), span / 1_000_000);
            if world.is_awake {
                tokio::time::sleep(span).await;
            } else if world.unending.contains(&ms) {
                std::future::pending::<()>().await;
            } else {
                world.waiting.lock().unwrap().push(ms);
            }
            Ok(())
        })
    })?;
    let mut random = linker.instance("wasi:random/random@0.3.0")?;
    random.func_wrap("get-random-u64", |store: StoreContextMut<'_, State>, (): ()| {
        let others = || RandomState::new().build_hasher().finish();
        Ok((store.data().world.random.unwrap_or_else(others),))
    })
}

/// Variables and SQLite.
pub fn of_spin(linker: &mut Linker<State>) -> wasmtime::Result<()> {
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
