//! The shared ledger keeps the contract of every store: alone, as a user who may do only what is documented, and on
//! a cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod server;

use std::future::Future;
use std::sync::LazyLock;

use server::Server;
use tokio::runtime::Runtime;
use tollgate_redis::{Options, Redis};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

fn store(options: Options) -> Box<Redis> {
    Box::new(wait(Redis::open(options.obey_callers())).unwrap())
}

mod alone {
    use super::*;

    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::of_the_process(&["--save", ""]));

    tollgate_contract::contract!(store(SERVER.options()), wait);
}

mod restricted {
    use super::*;

    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::of_the_process(&["--save", ""]));

    /// A user made as the documentation says.
    fn user() -> (String, Options) {
        let namespace = SERVER.new_name();
        let mut words = documented().into_iter().map(|word| {
            let word = word.replace("{tollgate}", &format!("{{{namespace}}}")).replace("PASSWORD", "secret");
            if word == "tollgate" { namespace.clone() } else { word }
        });
        let mut command = redis::cmd(&words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        let () = wait(async { command.query_async(&mut SERVER.connection().await).await }).unwrap();
        let url = format!("redis://{namespace}:secret@127.0.0.1:{}", SERVER.port);
        let options = Options::new(&url, SERVER.journal(&namespace)).namespace(namespace);
        (url, SERVER.patient(options))
    }

    fn documented() -> Vec<String> {
        let text = include_str!("../src/lib.rs");
        let (_, command) = text.split_once("//! ACL SETUSER").unwrap();
        let (command, _) = command.split_once("//! ```").unwrap();
        format!("ACL SETUSER {}", command.replace("//!", "")).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_documented_user_may_do_no_more() {
        let client = redis::Client::open(user().0).unwrap();
        for words in [&["GET", "other"][..], &["KEYS", "*"], &["FLUSHALL"], &["CONFIG", "GET", "*"]] {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            let answer: Result<redis::Value, _> = wait(async {
                command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await
            });
            assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{words:?}");
        }
    }

    tollgate_contract::contract!(store(user().1), wait);
}

mod cluster {
    use super::*;

    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let server = Server::of_the_process(&["--save", "", "--cluster-enabled", "yes"]);
        wait(server.owns_all_slots());
        server
    });

    tollgate_contract::contract!(store(SERVER.options()), wait);
}
