//! Spin's Redis, as a component is given it: any command, and every answer as one flat list.

use redis::Value;
use redis::aio::MultiplexedConnection;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::platform::State;

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Parameter {
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Answer {
    #[component(name = "nil")]
    Nil,
    #[component(name = "status")]
    Status(String),
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-address")]
    InvalidAddress,
    #[component(name = "too-many-connections")]
    TooManyConnections,
    #[component(name = "type-error")]
    OtherType,
    #[component(name = "other")]
    Other(String),
}

type Connection = MultiplexedConnection;

/// Links it.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut redis = linker.instance("spin:redis/redis@3.0.0")?;
    redis.resource("connection", ResourceType::host::<Connection>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<Connection>::new_own(handle))?;
        Ok(())
    })?;
    redis.func_wrap_concurrent("[static]connection.open", |accessor, (address,): (String,)| {
        Box::pin(async move {
            let connection = match open(&address).await {
                Ok(connection) => connection,
                Err(error) => return Ok((Err(error),)),
            };
            let handle = accessor.with(|mut access| access.get().table.push(connection))?;
            Ok((Ok(handle),))
        })
    })?;
    redis.func_wrap_concurrent(
        "[method]connection.execute",
        |accessor, (handle, command, arguments): (Resource<Connection>, String, Vec<Parameter>)| {
            Box::pin(async move {
                let connection = accessor.with(|mut access| access.get().table.get(&handle).cloned())?;
                Ok((execute(connection, &command, &arguments).await,))
            })
        },
    )
}

async fn open(address: &str) -> Result<Connection, Error> {
    let client = redis::Client::open(address).map_err(|_| Error::InvalidAddress)?;
    client.get_multiplexed_async_connection().await.map_err(other)
}

async fn execute(mut on: Connection, command: &str, arguments: &[Parameter]) -> Result<Vec<Answer>, Error> {
    let mut command = redis::cmd(command);
    for argument in arguments {
        match argument {
            Parameter::Int64(number) => command.arg(number),
            Parameter::Binary(bytes) => command.arg(bytes),
        };
    }
    let mut answers = Vec::new();
    flatten(command.query_async(&mut on).await.map_err(other)?, &mut answers);
    Ok(answers)
}

fn flatten(value: Value, answers: &mut Vec<Answer>) {
    match value {
        Value::Nil => answers.push(Answer::Nil),
        Value::Okay => answers.push(Answer::Status("OK".into())),
        Value::SimpleString(text) => answers.push(Answer::Status(text)),
        Value::Int(number) => answers.push(Answer::Int64(number)),
        Value::BulkString(bytes) => answers.push(Answer::Binary(bytes)),
        Value::Array(values) => values.into_iter().for_each(|value| flatten(value, answers)),
        value => panic!("Spin hands on no {value:?}"),
    }
}

fn other(error: redis::RedisError) -> Error {
    Error::Other(error.to_string())
}
