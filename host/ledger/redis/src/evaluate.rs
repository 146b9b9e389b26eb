//! Runs a script on a connection: one round trip, and two more when the server does not know the script yet.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tollgate_scripts::{Call, Next, Script, Word};

/// Runs a call until its answer is one.
pub async fn evaluate<T>(mut on: MultiplexedConnection, mut call: Call<T>) -> RedisResult<T> {
    loop {
        let mut command = redis::cmd("EVALSHA");
        call.evaluation().for_each(|word| _ = command.arg(&*word));
        let answer: Value = match command.query_async(&mut on).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                load(&mut on, call.script).await?;
                command.query_async(&mut on).await?
            }
            answer => answer?,
        };
        match call.read(&words(answer)?).map_err(odd)? {
            Next::Answer(answer) => return Ok(answer),
            Next::Ask(next) => call = next,
        }
    }
}

async fn load(on: &mut MultiplexedConnection, script: &Script) -> RedisResult<()> {
    redis::cmd("SCRIPT").arg("LOAD").arg(script.text()).query_async(on).await
}

/// The words of an answer; scripts answer with a flat list, or with one word.
fn words(answer: Value) -> RedisResult<Vec<Word>> {
    match answer {
        Value::Array(words) => words.into_iter().map(word).collect(),
        one => Ok(vec![word(one)?]),
    }
}

fn word(value: Value) -> RedisResult<Word> {
    match value {
        Value::Int(number) => Ok(Word::Integer(number)),
        Value::BulkString(text) => {
            String::from_utf8(text).map(Word::Text).map_err(|error| odd(error.to_string()))
        }
        other => Err(odd(format!("{other:?}"))),
    }
}

/// An answer that a server of ours does not give, whatever state it is in.
pub fn odd(detail: String) -> RedisError {
    (ErrorKind::UnexpectedReturnType, "an answer that cannot be read", detail).into()
}
