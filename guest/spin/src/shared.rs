//! Redis, through Spin, for books that servers and edge share.
//!
//! One connection carries all exchanges of the instance. After a failure it is given up, and the next command opens
//! another: a server that moved, or a connection that died in silence, costs one refusal.

use std::cell::RefCell;
use std::rc::Rc;

use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};
use tollgate_scripts::{Commands, Word};

/// The server at an address, which may hold a password: it is in no message.
pub(crate) struct Server {
    address: String,
    connection: RefCell<Option<Rc<Connection>>>,
}

impl Server {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connection: RefCell::new(None) }
    }

    /// Gives up the connection.
    pub(crate) fn forget(&self) {
        self.connection.replace(None);
    }

    async fn connection(&self) -> Result<Rc<Connection>, String> {
        let kept = self.connection.borrow().clone();
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let connection = Rc::new(Connection::open(&self.address).await.map_err(reason)?);
        self.connection.replace(Some(Rc::clone(&connection)));
        Ok(connection)
    }
}

impl Commands for Server {
    async fn execute(&self, command: &str, arguments: Vec<String>) -> Result<Vec<Word>, String> {
        let connection = self.connection().await?;
        let arguments = arguments.into_iter().map(|argument| RedisParameter::Binary(argument.into_bytes()));
        let answer = connection.execute(command, arguments).await.map_err(reason)?;
        answer.into_iter().map(word).collect()
    }
}

fn word(result: RedisResult) -> Result<Word, String> {
    match result {
        RedisResult::Int64(number) => Ok(Word::Integer(number)),
        RedisResult::Binary(text) => {
            String::from_utf8(text).map(Word::Text).map_err(|cause| cause.to_string())
        }
        RedisResult::Status(text) => Ok(Word::Text(text)),
        RedisResult::Nil => Err("an answer that is nothing".to_owned()),
    }
}

fn reason(error: Error) -> String {
    match error {
        Error::InvalidAddress => {
            "the address is not `redis://..`, or `allowed_outbound_hosts` in spin.toml does not have it"
                .to_owned()
        }
        Error::TooManyConnections => "Spin allows this instance no more connections".to_owned(),
        Error::TypeError => "an answer of another type".to_owned(),
        Error::Other(cause) => cause,
    }
}
