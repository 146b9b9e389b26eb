//! Keys made and changed while servers run: two on one Redis, and one on a file. Every server goes by a change within
//! five seconds, and what the books say is the same wherever it is read.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tollgate_ledger::Entry;
use tollgate_tests::crowd::{COST, Got, Line, budget, config, provider};
use tollgate_tests::programs::{RedisServer, Serving, folder, tollgate, until};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// What is promised: a change is in force everywhere by then.
const WITHIN: Duration = Duration::from_secs(5);

/// Servers of one store, and the tools beside them.
struct Site<'s> {
    runtime: Runtime,
    place: &'s Path,
    redis: Option<&'s RedisServer>,
    files: Vec<PathBuf>,
    servers: Vec<Serving>,
    /// How many requests were served.
    served: Cell<usize>,
}

impl<'s> Site<'s> {
    /// Starts a server for each of these tables.
    fn start(place: &'s Path, redis: Option<&'s RedisServer>, tables: &[String]) -> Self {
        let runtime = Runtime::new().unwrap();
        let provider = provider(&runtime);
        let mut site =
            Self { runtime, place, redis, files: Vec::new(), servers: Vec::new(), served: Cell::new(0) };
        for (number, tables) in tables.iter().enumerate() {
            let file = place.join(format!("server{number}.toml"));
            fs::write(&file, config(provider, &[("configured", String::new())], tables)).unwrap();
            site.servers.push(Serving::run(site.command(), &file));
            site.files.push(file);
        }
        site
    }

    fn command(&self) -> Command {
        let mut command = tollgate(self.place);
        if let Some(redis) = self.redis {
            command.env("REDIS_URL", redis.url());
        }
        command
    }

    /// What a tool prints.
    fn tool(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).arg("--config").arg(&self.files[0]).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The secret that a tool prints.
    fn secret(&self, arguments: &[&str]) -> String {
        let printed = self.tool(arguments);
        let secret = printed.split_whitespace().next().unwrap();
        assert!(secret.starts_with("tg_"), "{printed}");
        secret.to_owned()
    }

    /// Every server answers this secret so, within the time that is promised since the change was made.
    fn everywhere(&self, secret: &str, status: u16, code: &str) {
        let end = Instant::now() + WITHIN;
        for server in &self.servers {
            loop {
                let got: Got =
                    self.runtime.block_on(async { Line::to(server.address).await.ask(secret).await });
                self.served.set(self.served.get() + usize::from(got.status == 200));
                if (got.status, &*got.code) == (status, code) {
                    break;
                }
                assert!(Instant::now() < end, "not {status} {code} within {WITHIN:?}, but {got:?}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn changes_are_in_force_everywhere(&self) {
        let rich = budget(1_000);
        let first = self.secret(&["keys", "new", "acme/ml/carol", "--budget", &rich]);
        self.everywhere(&first, 200, "");
        self.everywhere("tg_nobody", 401, "invalid_api_key");

        // A limit that is spent, and one that is not.
        self.tool(&["keys", "limit", "acme/ml/carol", "--budget", &budget(1)]);
        self.everywhere(&first, 429, "insufficient_quota");
        self.tool(&["keys", "limit", "acme/ml/carol", "--budget", &rich]);
        self.everywhere(&first, 200, "");
        self.tool(&["keys", "limit", "--scope", "acme", "--budget", &budget(1)]);
        self.everywhere(&first, 429, "insufficient_quota");
        self.tool(&["keys", "limit", "--scope", "acme", "--budget", "none"]);
        self.everywhere(&first, 200, "");

        // The secret before is valid for the overlap.
        let second = self.secret(&["keys", "rotate", "acme/ml/carol", "--overlap", "1h"]);
        self.everywhere(&second, 200, "");
        self.everywhere(&first, 200, "");
        let third = self.secret(&["keys", "rotate", "acme/ml/carol", "--overlap", "none"]);
        self.everywhere(&third, 200, "");
        self.everywhere(&first, 401, "invalid_api_key");
        self.everywhere(&second, 401, "invalid_api_key");

        self.tool(&["keys", "revoke", "acme/ml/carol"]);
        self.everywhere(&third, 401, "invalid_api_key");
    }

    /// Invariant: conservation. The tools and every server tell the same rows.
    fn the_books_are_the_same_everywhere(&self) {
        // A key of a name that a spreadsheet must not take for more than one cell, nor the export.
        let secret = self.secret(&["keys", "new", "acme/dave", "--budget", &budget(1_000)]);
        self.everywhere(&secret, 200, "");
        let all = self.served.get();
        let rows = until("all rows", || Some(self.servers[0].rows()).filter(|rows| rows.len() >= all));
        assert!(rows.len() == all && rows.iter().all(|row| row.charge == COST), "{rows:?}");
        for server in &self.servers {
            assert_eq!(server.rows(), rows);
            let dave = rows.iter().filter(|row| row.key == "acme/dave").map(|row| row.charge).sum::<u64>();
            assert_eq!(server.spent("acme%2Fdave"), dave);
        }
        let lines = self.tool(&["ledger", "export", "--format", "jsonl"]);
        let exported: Vec<Entry> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(exported, rows);
        let table = self.tool(&["ledger", "export", "--format", "csv"]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), rows.len() + 1);
        for (line, row) in lines[1..].iter().zip(&rows) {
            let value = |name: &str| line[lines[0].iter().position(|column| *column == name).unwrap()];
            assert_eq!(line.len(), lines[0].len());
            let (at, charge, status) =
                (row.at_ms.to_string(), row.charge.to_string(), row.status.to_string());
            let told =
                ["request_id", "at_ms", "key", "model", "charge_nano", "currency", "status", "outcome"]
                    .map(value);
            let kept = [
                &row.request_id,
                &at,
                &row.key,
                &row.model,
                &charge,
                &row.currency,
                &status,
                row.outcome.as_str(),
            ];
            assert_eq!(told, kept);
        }
        let some = self.tool(&["ledger", "export", "--scope", "acme/dave"]);
        assert_eq!(some.lines().count(), rows.iter().filter(|row| row.key == "acme/dave").count());
    }
}

#[test]
fn keys_change_on_two_servers_of_one_redis_and_their_books_are_the_same() {
    let (place, redis) = (folder(), RedisServer::start());
    let tables = ["one", "other"].map(|name| {
        format!(
            "{ADMIN}[ledger]\nstore = \"redis\"\nurl = {{ env = \"REDIS_URL\" }}\njournal = \"{name}.journal\"\n\
             timeout = \"60s\"\n" // A busy machine is no outage.
        )
    });
    let site = Site::start(place.path(), Some(&redis), &tables);
    site.changes_are_in_force_everywhere();
    site.the_books_are_the_same_everywhere();
}

#[test]
fn keys_change_beside_a_server_on_a_file_and_the_books_are_the_same() {
    let place = folder();
    let site = Site::start(place.path(), None, &[ADMIN.to_owned()]);
    site.changes_are_in_force_everywhere();
    site.the_books_are_the_same_everywhere();
}

#[test]
fn a_key_whose_model_is_gone_can_be_rotated_and_revoked() {
    let place = folder();
    let file = place.path().join("tollgate.toml");
    let write = |models: &[&str]| {
        let models = models.iter().map(|model| {
            format!(
                "[[models]]\nname = \"{model}\"\ntargets = [{{ upstream = \"main\" }}]\nprice = \"free\"\n"
            )
        });
        let rest = "[[keys]]\nname = \"me\"\ndigest = \
                    \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n";
        let upstream = "[upstreams.main]\nbase_url = \"http://127.0.0.1:9/v1\"\n";
        fs::write(&file, format!("{upstream}{}{rest}", models.collect::<String>())).unwrap();
    };
    let keys = |arguments: &[&str]| {
        let mut command = tollgate(place.path());
        command.arg("keys").args(arguments).arg("--config").arg(&file).output().unwrap()
    };
    write(&["one", "two"]);
    assert!(keys(&["new", "alice", "--models", "one,two"]).status.success());
    write(&["one"]);
    let limited = keys(&["limit", "alice", "--requests", "1/1m"]);
    assert!(
        String::from_utf8_lossy(&limited.stderr).contains("two"),
        "what it may do is checked: {limited:?}"
    );
    for arguments in [&["rotate", "alice"], &["revoke", "alice"]] {
        let done = keys(arguments);
        assert!(done.status.success(), "{done:?}");
    }
    let shown = keys(&["show", "alice"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("revoked"), "{shown:?}");
}
