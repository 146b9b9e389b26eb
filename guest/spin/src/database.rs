//! Spin's SQLite, asked statement by statement.
//!
//! By the calls that do not return before they are done: nothing else runs in the instance during a step, so a client
//! that leaves never cuts one in half, and a settlement can be made while the exchange is dropped. The SDK wraps only
//! the others, which is why its bindings are used as they are.

use spin_sdk::sqlite::wit::sqlite::{Connection, Value as SpinValue};
use tollgate_stepwise::{Database, Row, Value};

/// The database that every Spin component may have.
const NAME: &str = "default";

/// A database of Spin.
#[derive(Default)]
pub(crate) struct Spin {
    /// None before the first statement, and after one that failed: a transaction ends with its connection.
    connection: Option<Connection>,
}

impl Database for Spin {
    fn run(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, String> {
        let connection = match &self.connection {
            Some(connection) => connection,
            None if statement == "ROLLBACK" => return Ok(Vec::new()),
            None => self.connection.insert(Connection::open(NAME).map_err(|cause| cause.to_string())?),
        };
        let values: Vec<SpinValue> = values.iter().map(given).collect();
        match connection.execute(statement, &values) {
            Ok(result) => result.rows.into_iter().map(|row| taken(row.values)).collect(),
            Err(cause) => {
                self.connection = None;
                Err(cause.to_string())
            }
        }
    }
}

fn given(value: &Value) -> SpinValue {
    match value {
        Value::Integer(number) => SpinValue::Integer(*number),
        Value::Text(text) => SpinValue::Text(text.clone()),
        Value::Null => SpinValue::Null,
    }
}

fn taken(values: Vec<SpinValue>) -> Result<Row, String> {
    let value = |value| match value {
        SpinValue::Integer(number) => Ok(Value::Integer(number)),
        SpinValue::Text(text) => Ok(Value::Text(text)),
        SpinValue::Null => Ok(Value::Null),
        SpinValue::Real(_) | SpinValue::Blob(_) => Err("a column of the ledger has another type".to_owned()),
    };
    values.into_iter().map(value).collect::<Result<_, _>>().map(Row)
}
