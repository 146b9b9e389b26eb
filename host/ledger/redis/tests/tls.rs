//! `rediss://`: the server must be vouched for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod server;

use server::Server;
use tollgate_contract::{NOW, budget, is_granted, reserve};
use tollgate_ledger::{Condition, Ledger as _};
use tollgate_redis::{Options, Redis};

#[tokio::test]
async fn a_server_is_reached_by_tls_if_it_is_vouched_for() {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (file("cert", made.cert.pem()), file("key", made.signing_key.serialize_pem()));
    let server = Server::with_tls(&certificate, &key);
    let url = format!("rediss://localhost:{}", server.port);
    let options = || server.patient(Options::new(&url, server.journal(&server.new_name()))).obey_callers();

    let trusting = Redis::open(options().certificates(made.cert.pem())).await.unwrap();
    assert_eq!(trusting.condition(), Condition::Sound);
    assert!(is_granted(&reserve(&trusting, "one", &[budget("b", 10, 1)], NOW).await));
    // The system's roots know nothing of it.
    let wary = Redis::open(options()).await.unwrap();
    assert!(matches!(wary.condition(), Condition::Degraded(why) if why.contains("certificate")));
}
