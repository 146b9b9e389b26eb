//! Several gateways, one ledger: what they hold and settle at the same time is one truth, by the server's clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod server;

use std::collections::BTreeSet;
use std::sync::Arc;

use server::Server;
use tokio::task::JoinSet;
use tollgate_contract::{
    END, LEASE, NOW, all_rows, budget, entry, is_granted, raise, raised, remaining, reserve, settle, slots,
    window,
};
use tollgate_ledger::keys::{Kept, Key, Keys as _};
use tollgate_ledger::{Charge, Claim, Condition, Hold, Ledger as _, Raise, Reservation, Rule, Settled};
use tollgate_redis::{Options, Redis};

/// Two gateways of one namespace.
async fn two(server: &Server) -> [Arc<Redis>; 2] {
    let name = server.new_name();
    let open = async |which: &str| {
        let journal = server.journal(&format!("{name}-{which}"));
        let options = Options::new(server.url(), journal).namespace(&name).obey_callers();
        Arc::new(Redis::open(server.patient(options)).await.unwrap())
    };
    [open("a").await, open("b").await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_over_admit_among_gateways() {
    let server = Server::start();
    let gateways = two(&server).await;
    for round in 0..20_u64 {
        let limit = 1 + round * 13;
        let mut asked = JoinSet::new();
        for number in 0..1_000_usize {
            let gateway = Arc::clone(&gateways[number % 2]);
            asked.spawn(async move {
                let claims = [budget(&format!("b{round}"), limit, 1), window(&format!("w{round}"), 1_000, 1)];
                is_granted(&reserve(&*gateway, &format!("hold-{round}-{number}"), &claims, NOW).await)
            });
        }
        let grants = asked.join_all().await.into_iter().filter(|granted| *granted).count();
        assert_eq!(grants as u64, limit);
    }
}

#[tokio::test]
async fn settle_once_when_another_gateway_settles() {
    let server = Server::start();
    let [a, b] = two(&server).await;
    let claims = [budget("b", 100, 10), slots("s", 1, 1), window("w", 10, 1)];
    assert!(is_granted(&reserve(&*a, "one", &claims, NOW).await));
    // The other one has never heard of its cells.
    assert_eq!(b.renew("one", 2 * LEASE, NOW).await, Ok(true));
    assert_eq!(settle(&*b, "one", Charge::Amounts(&[3]), NOW + LEASE).await, Settled::Done);
    assert_eq!(settle(&*a, "one", Charge::Nothing, NOW + LEASE).await, Settled::Already);
    let left: Vec<u64> =
        a.standings(&claims, NOW).await.unwrap().iter().map(|standing| standing.remaining).collect();
    assert_eq!(left, [97, 1, 9]);
    assert_eq!(all_rows(&*a).await, all_rows(&*b).await);
    assert_eq!(all_rows(&*a).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settle_once_when_gateways_expire_the_same_holds() {
    let server = Server::start();
    let gateways = two(&server).await;
    for number in 0..350 {
        reserve(&*gateways[0], &format!("hold-{number}"), &[budget("b", 1_000, 2)], NOW).await;
    }
    let mut asked = JoinSet::new();
    for gateway in gateways.iter().cycle().take(6) {
        let gateway = Arc::clone(gateway);
        asked.spawn(async move { gateway.expire(NOW + LEASE).await.unwrap() });
    }
    assert_eq!(asked.join_all().await.into_iter().sum::<usize>(), 350);
    let rows = all_rows(&*gateways[1]).await;
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.request_id.as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (350, 350));
}

#[tokio::test]
async fn gateways_go_by_the_servers_clock() {
    let server = Server::start();
    let name = server.new_name();
    let options =
        |which: &str| server.patient(Options::new(server.url(), server.journal(which)).namespace(&name));
    let (a, b) = (Redis::open(options("a")).await.unwrap(), Redis::open(options("b")).await.unwrap());
    let claims = [window("w", 2, 1), slots("s", 2, 1)];
    // One lives in 1970, one in a far future.
    assert!(is_granted(&reserve(&a, "one", &claims, 7).await));
    assert!(is_granted(&reserve(&b, "two", &claims, u64::MAX).await));
    for (gateway, now) in [(&a, 7), (&b, u64::MAX)] {
        let Reservation::Limited { retry_after_ms: Some(wait), .. } =
            reserve(gateway, "three", &[window("w", 2, 1)], now).await
        else {
            panic!("granted")
        };
        assert!(wait <= 62_000, "{wait}");
        assert!(!is_granted(&reserve(gateway, "three", &[slots("s", 2, 1)], now).await));
        assert_eq!(gateway.expire(now).await, Ok(0));
    }
    assert_eq!(settle(&b, "one", Charge::Nothing, u64::MAX).await, Settled::Done);
}

#[tokio::test]
async fn never_over_admit_in_a_budget_whose_cell_has_ended() {
    let server = Server::start();
    let store = Redis::open(server.options()).await.unwrap();
    // The server's clock is years past the end of this period: what was spent in it is gone.
    assert!(!is_granted(&reserve(&store, "one", &[budget("b", 10, 1)], NOW).await));
    let rule = Rule::Budget { limit: 10, start_ms: NOW, end_ms: END * 2 };
    assert!(is_granted(&reserve(&store, "two", &[Claim { cell: "c".into(), rule, amount: 1 }], NOW).await));
}

#[tokio::test]
async fn keys_end_by_themselves_and_open_holds_do_not() {
    let server = Server::start();
    let store = Redis::open(server.options().namespace("n")).await.unwrap();
    let rule = Rule::Budget { limit: 10, start_ms: NOW, end_ms: END * 2 };
    let claims = [window("w", 9, 1), slots("s", 9, 1), Claim { cell: "c".into(), rule, amount: 1 }];
    for id in ["open", "closed"] {
        assert!(is_granted(&reserve(&store, id, &claims, NOW).await));
    }
    settle(&store, "closed", Charge::Held, NOW).await;
    let mut on = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut on).await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with("{n}")), "{keys:?}");
    for key in keys {
        let life: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut on).await.unwrap();
        let ends = key.starts_with("{n}cell:") || key == "{n}hold:closed";
        assert_eq!(life > 0, ends, "{key}: {life}");
        assert!(!key.contains("cell") || life > 60_000, "{key}: {life}");
    }
}

#[tokio::test]
async fn settle_once_when_redis_has_lost_a_hold() {
    let server = Server::start();
    let [a, b] = two(&server).await;
    assert!(is_granted(&reserve(&*a, "lost", &[budget("b", 100, 10)], NOW).await));
    let _: () = redis::cmd("FLUSHALL").query_async(&mut server.connection().await).await.unwrap();
    assert_eq!(settle(&*a, "lost", Charge::Amounts(&[3]), NOW).await, Settled::Done);
    assert_eq!(settle(&*a, "lost", Charge::Amounts(&[3]), NOW).await, Settled::Already);
    // Who never heard of a hold writes nothing for it.
    assert_eq!(settle(&*b, "never", Charge::Amounts(&[3]), NOW).await, Settled::Unknown);
    assert_eq!(all_rows(&*b).await.iter().map(|row| row.request_id.as_str()).collect::<Vec<_>>(), ["lost"]);
}

#[tokio::test]
async fn another_gateway_raises_and_loses_what_this_one_holds() {
    let server = Server::start();
    let [a, b] = two(&server).await;
    let claims = |amount| [budget("b", 100, amount), slots("s", 1, 1), window("w", 30, amount)];
    assert!(is_granted(&reserve(&*a, "one", &claims(10), NOW).await));
    assert!(raised(&*b, "one", &claims(20), NOW + 5_000).await);
    assert!(raised(&*a, "one", &claims(30), NOW + 10_000).await);
    assert!(!raised(&*b, "one", &claims(31), NOW + 10_000).await);
    assert_eq!(b.expire(NOW + 10_000 + LEASE).await, Ok(1));
    assert_eq!(raise(&*a, "one", &claims(30), NOW + 10_000).await, Raise::Gone);
    assert_eq!(all_rows(&*a).await.iter().map(|row| row.charge).collect::<Vec<_>>(), [30]);
    assert_eq!(remaining(&*a, budget("b", 100, 0), NOW).await, 70);
}

#[tokio::test]
async fn a_hold_that_redis_has_lost_cannot_be_raised() {
    let server = Server::start();
    let store = server.store().await;
    assert!(is_granted(&reserve(&store, "one", &[budget("b", 100, 10)], NOW).await));
    let () = redis::cmd("FLUSHALL").query_async(&mut server.connection().await).await.unwrap();
    assert_eq!(raise(&store, "one", &[budget("b", 100, 20)], NOW).await, Raise::Gone);
    assert_eq!(settle(&store, "one", Charge::Amounts(&[3]), NOW).await, Settled::Done, "its row is written");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start();
    let store = server.store().await;
    let mut on = server.connection().await;
    for number in 0..3 {
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut on).await.unwrap();
        let id = format!("hold-{number}");
        assert!(is_granted(&reserve(&store, &id, &[budget("b", 10, 1)], NOW).await));
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut on).await.unwrap();
        assert_eq!(settle(&store, &id, Charge::Held, NOW).await, Settled::Done);
    }
    assert_eq!(store.condition(), Condition::Sound);
}

#[tokio::test]
async fn an_exchange_is_two_round_trips() {
    let server = Server::start();
    let store = server.store().await;
    let claims = [budget("b", 100, 1), slots("s", 100, 1), window("w", 100, 1)];
    let mut on = server.connection().await;
    reserve(&store, "first", &claims, NOW).await;
    settle(&store, "first", Charge::Held, NOW).await;
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut on).await.unwrap();
    for number in 0..10 {
        reserve(&store, &format!("hold-{number}"), &claims, NOW).await;
        settle(&store, &format!("hold-{number}"), Charge::Held, NOW).await;
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut on).await.unwrap();
    assert!(stats.contains("cmdstat_evalsha:calls=20,"), "{stats}");
}

#[tokio::test]
async fn a_raise_is_one_round_trip() {
    let server = Server::start();
    let store = server.store().await;
    let claims = |amount| [budget("b", 1_000, amount), slots("s", 100, 1), window("w", 1_000, amount)];
    let mut on = server.connection().await;
    reserve(&store, "first", &claims(1), NOW).await;
    settle(&store, "first", Charge::Held, NOW).await;
    reserve(&store, "one", &claims(1), NOW).await;
    assert!(raised(&store, "one", &claims(2), NOW).await);
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut on).await.unwrap();
    for number in 0..10 {
        assert!(raised(&store, "one", &claims(3 + number), NOW + number * 10_000).await);
    }
    settle(&store, "one", Charge::Amounts(&[5, 1, 5]), NOW + 100_000).await;
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut on).await.unwrap();
    assert!(stats.contains("cmdstat_evalsha:calls=11,"), "{stats}");
}

#[tokio::test]
async fn a_cell_that_cannot_be_read_refuses_its_claims_and_no_others() {
    let server = Server::start();
    let store = Redis::open(server.options().namespace("n").obey_callers()).await.unwrap();
    reserve(&store, "one", &[budget("b", 10, 1)], NOW).await;
    let mut on = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("{n}cell:*").query_async(&mut on).await.unwrap();
    for broken in ["budget", "budget 1 x\nb", "other 1 2\nb"] {
        let () = redis::cmd("SET").arg(&keys[0]).arg(broken).query_async(&mut on).await.unwrap();
        let row = Arc::new(entry("two", 1));
        let hold = Hold { entry: &row, claims: &[budget("b", 10, 1)], lease_ms: LEASE };
        assert!(store.reserve(hold, NOW).await.is_err(), "{broken}");
        assert!(is_granted(&reserve(&store, "three", &[budget("c", 10, 1)], NOW).await));
        assert_eq!(store.condition(), Condition::Sound);
    }
    let row = Arc::new(entry("not an id", 1));
    assert!(store.reserve(Hold { entry: &row, claims: &[], lease_ms: LEASE }, NOW).await.is_err());
}

#[tokio::test]
async fn a_key_that_was_kept_before_there_were_tags_has_none() {
    let server = Server::start();
    let store = Redis::open(server.options().namespace("n")).await.unwrap();
    assert_eq!(store.keep_key(&Key::new("alice", [7; 32], NOW)).await, Ok(Kept::Done));
    let mut on = server.connection().await;
    let record: String = redis::cmd("HGET").arg("{n}keys").arg("alice").query_async(&mut on).await.unwrap();
    let earlier = record.replace("\"tags\":[],", "");
    assert_ne!(record, earlier);
    let () = redis::cmd("HSET").arg("{n}keys").arg("alice").arg(earlier).query_async(&mut on).await.unwrap();
    let mut key = store.key("alice").await.unwrap().unwrap();
    assert_eq!(key.tags, [""; 0]);
    key.tags = vec!["batch".into()];
    assert_eq!(store.keep_key(&key).await, Ok(Kept::Done));
    assert_eq!(store.find(&[7; 32]).await.unwrap().unwrap().key.tags, ["batch"]);
}

#[tokio::test]
async fn a_cluster_sends_a_gateway_to_the_shard_of_its_namespace() {
    let options = ["--save", "", "--cluster-enabled", "yes"];
    let (a, b) = (Server::with(&options), Server::with(&options));
    let mut on = a.connection().await;
    let port = b.port.to_string();
    let () = redis::cmd("CLUSTER").arg(&["MEET", "127.0.0.1", &port]).query_async(&mut on).await.unwrap();
    b.owns_all_slots().await;
    a.is_in_order().await;
    let store = a.store().await;
    assert_eq!(store.condition(), Condition::Sound);
    assert!(is_granted(&reserve(&store, "one", &[budget("b", 10, 1)], NOW).await));
    let holds: Vec<String> =
        redis::cmd("KEYS").arg("*hold:one").query_async(&mut b.connection().await).await.unwrap();
    assert_eq!(holds.len(), 1);
}
