//! The component for Spin on a Redis that it shares with a server: one budget for both, the keys that the server's tools
//! make, and nothing granted while Redis cannot be asked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tollgate_tests::client;
use tollgate_tests::crowd;
use tollgate_tests::instant::now_ms;
use tollgate_tests::programs::{RedisServer, Serving, folder, tollgate};
use tollgate_tests::spin::platform::World;
use tollgate_tests::spin::server::{Instances, Server};
use tollgate_tests::vector::Request;
use tollgate_tests::wire::Message;

use crate::GATEWAY;

/// A busy machine is no outage.
const TABLES: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nstore = \"redis\"\nurl = { env = \"REDIS_URL\" }\n\
                      timeout = \"20s\"\n";

/// A Redis, a server on it, and what the edge needs to be on it too.
struct Site {
    runtime: Runtime,
    redis: RedisServer,
    place: tempfile::TempDir,
    file: PathBuf,
    config: String,
}

impl Site {
    fn start(keys: &[(&str, String)]) -> (Self, Serving) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let (redis, place) = (RedisServer::start(), folder());
        let config = crowd::config(crowd::provider(&runtime), keys, TABLES);
        let file = place.path().join("tollgate.toml");
        fs::write(&file, &config).unwrap();
        let site = Self { runtime, redis, place, file, config };
        let serving = Serving::run(site.command(), &site.file);
        (site, serving)
    }

    fn command(&self) -> Command {
        let mut command = tollgate(Path::new(self.place.path()));
        command.env("REDIS_URL", self.redis.url());
        command
    }

    /// The same configuration on the edge.
    fn edge(&self, instances: Instances) -> Server {
        let variables = BTreeMap::from([
            ("config".to_owned(), self.config.clone()),
            ("redis_url".to_owned(), self.redis.url()),
        ]);
        let world = Arc::new(World { variables, now_ms: now_ms(), is_awake: true, ..World::default() });
        Server::start(&self.runtime, &GATEWAY, instances, world)
    }

    /// What a tool of the server prints.
    fn tool(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).arg("--config").arg(&self.file).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn chat(secret: &str) -> Request {
    let body = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"Hello"}]}"#;
    let authorization = format!("authorization: Bearer {secret}");
    serde_json::from_value(serde_json::json!({ "headers": [authorization], "body": body })).unwrap()
}

/// Invariants: never over-admit, no phantom refusal, settle once, conservation.
#[test]
fn of_many_at_once_exactly_the_budget_is_admitted_by_a_server_and_the_edge_together() {
    const REQUESTS: usize = 300;
    const ADMITTED: u64 = 71;
    let (site, serving) = Site::start(&[("alice", format!("budget = \"{}\"", crowd::budget(ADMITTED)))]);
    let edges = [site.edge(Instances::Fresh), site.edge(Instances::Shared)];
    let others = [edges[0].address, edges[1].address];
    let asked = ("alice", &chat(&crowd::secret("alice")));
    crowd::exactly_the_budget_is_admitted(&serving, others, asked, (REQUESTS, ADMITTED));
    edges.into_iter().for_each(|edge| edge.stop(&site.runtime));
    serving.stop();
}

#[test]
fn a_key_made_at_run_time_passes_on_the_edge_too_within_the_limits_around_it() {
    let (site, serving) = Site::start(&[("configured", String::new())]);
    let edge = site.edge(Instances::Fresh);
    let made = site.tool(&["keys", "new", "acme/ml/carol", "--budget", &crowd::budget(1_000)]);
    let secret = made.split_whitespace().next().unwrap();
    assert!(secret.starts_with("tg_"), "{made}");
    site.tool(&["keys", "limit", "acme", "--scope", "--requests", "2/1h"]);
    let asked = || client::ask(edge.address, &chat(secret)).unwrap();
    let answers = [asked(), asked(), asked()];
    assert_eq!(answers.each_ref().map(Message::status), [200, 200, 429], "{}", answers[2].text());
    assert_eq!(client::ask(edge.address, &chat("tg_nobody")).unwrap().status(), 401);
    site.tool(&["keys", "revoke", "acme/ml/carol"]);
    assert_eq!(asked().status(), 401);
    edge.stop(&site.runtime);
    serving.stop();
}

/// Invariant: never over-admit. The edge has no memory of its own that could grant anything.
#[test]
fn while_redis_is_away_nobody_is_served_on_the_edge_and_then_everybody_again() {
    let (mut site, serving) = Site::start(&[("alice", "requests = \"100/1m\"".to_owned())]);
    let edges = [site.edge(Instances::Fresh), site.edge(Instances::Shared)];
    let request = chat(&crowd::secret("alice"));
    let everywhere = |status: u16, code: &str| {
        for edge in &edges {
            let answer = client::ask(edge.address, &request).unwrap();
            assert_eq!(answer.status(), status, "{}", answer.text());
            assert!(answer.text().contains(code), "{}", answer.text());
        }
    };
    everywhere(200, "usage");
    site.redis.kill();
    everywhere(503, "ledger_unavailable");
    site.redis.start_again();
    everywhere(200, "usage");
    edges.into_iter().for_each(|edge| edge.stop(&site.runtime));
    serving.stop();
}

#[test]
fn a_configuration_on_redis_needs_its_url_and_the_log_says_so() {
    let (site, serving) = Site::start(&[("configured", String::new())]);
    let variables = BTreeMap::from([("config".to_owned(), site.config.clone())]);
    let world = Arc::new(World { variables, ..World::default() });
    let edge = Server::start(&site.runtime, &GATEWAY, Instances::Fresh, Arc::clone(&world));
    assert_eq!(client::ask(edge.address, &chat("tg_alice")).unwrap().status(), 503);
    edge.stop(&site.runtime);
    assert!(world.log().contains("ledger.url") && world.log().contains("REDIS_URL"), "{}", world.log());
    serving.stop();
}
