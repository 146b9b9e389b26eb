//! Redis is killed, hangs, is not there yet: budgets are refused, a share of the windows is granted, and nothing that
//! was told is lost or counted twice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use server::Server;
use tokio::task::JoinSet;
use tollgate_contract::{
    LEASE, NOW, all_rows, budget, entry, is_granted, remaining, reserve, settle, slots, window,
};
use tollgate_ledger::breaker::{BreakerRule, Passage};
use tollgate_ledger::{
    Breakers as _, Charge, Claim, Condition, Entry, Hold, Ledger as _, Outcome, Raise, Reservation, Settled,
    Unavailable,
};
use tollgate_redis::{Options, Redis};

async fn try_reserve(store: &Redis, id: &str, claims: &[Claim]) -> Result<Reservation, Unavailable> {
    let row = Arc::new(entry(id, claims.first().map_or(0, |claim| claim.amount)));
    store.reserve(Hold { entry: &row, claims, lease_ms: LEASE }, NOW).await
}

fn completed(id: &str, charge: u64) -> Arc<Entry> {
    Arc::new(Entry { outcome: Outcome::Completed, charge, ..entry(id, charge) })
}

/// Of one who does not wait long for a server that hangs.
fn hasty(server: &Server) -> Options {
    server.options().obey_callers().answers_within(Duration::from_secs(1))
}

fn is_degraded(store: &Redis) -> bool {
    matches!(store.condition(), Condition::Degraded(_))
}

/// An answer that is there at once: nothing is waited for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn a_server_that_hangs_degrades_the_store_and_its_return_heals_it() {
    let server = Server::start();
    let store = Redis::open(hasty(&server).local_share_percent(50)).await.unwrap();
    let claims = [window("w", 10, 1), slots("s", 100, 1)];
    for id in ["before", "left"] {
        assert!(is_granted(&reserve(&store, id, &[budget("b", 100, 10), claims[0].clone()], NOW).await));
    }
    server.hang();
    // Its reservation is sent, and not answered.
    let late = try_reserve(&store, "late", &[budget("b", 100, 10)]).await.unwrap_err();
    assert!(late.reason.contains("within 1s"), "{late}");
    assert!(is_degraded(&store));
    // From now on nobody waits.
    assert!(at_once(try_reserve(&store, "money", &[budget("b", 100, 1), claims[0].clone()])).is_err());
    let grants = (0..20).filter(|number| {
        is_granted(&at_once(try_reserve(&store, &format!("local-{number}"), &claims)).unwrap())
    });
    assert_eq!(grants.count(), 5, "half of ten");
    assert_eq!(at_once(remaining(&store, window("w", 10, 0), NOW)), 0);
    assert!(at_once(store.standings(&[budget("b", 100, 0)], NOW)).is_err());
    assert!(at_once(store.renew("local-0", LEASE, NOW)).unwrap());
    assert!(at_once(store.renew("before", LEASE, NOW)).is_err());
    let rule = BreakerRule { failures: 3, open_ms: 60_000, probe_ms: 5_000 };
    assert!(matches!(at_once(store.ask("upstream", rule, NOW)), Ok(Passage::Pass { .. })));
    // Settlements wait on disk: of what is held there, of what was granted here, and of what nobody knows.
    let settled = store.settle(&completed("before", 3), Charge::Amounts(&[3]), NOW).await;
    assert_eq!(settled, Ok(Settled::Done));
    assert_eq!(store.settle(&completed("local-0", 1), Charge::Held, NOW).await, Ok(Settled::Done));
    assert_eq!(store.settle(&completed("local-0", 1), Charge::Held, NOW).await, Ok(Settled::Already));
    assert_eq!(settle(&store, "late", Charge::Nothing, NOW).await, Settled::Done);
    store.flush().await.unwrap();

    server.go_on();
    store.reached().await;
    assert_eq!(store.condition(), Condition::Sound);
    // An exchange that began here ends here.
    assert_eq!(store.settle(&completed("local-1", 2), Charge::Held, NOW).await, Ok(Settled::Done));
    assert_eq!(store.settle(&completed("left", 7), Charge::Amounts(&[7]), NOW).await, Ok(Settled::Done));
    assert_eq!(store.expire(NOW + 2 * LEASE).await, Ok(3), "three of the share were never settled");
    let rows = all_rows(&store).await;
    let charges: BTreeMap<&str, u64> = rows
        .iter()
        .map(|row| (row.request_id.as_str(), row.charge))
        .filter(|(id, _)| *id != "late")
        .collect();
    let expected = [
        ("before", 3),
        ("left", 7),
        ("local-0", 1),
        ("local-1", 2),
        ("local-2", 1),
        ("local-3", 1),
        ("local-4", 1),
    ];
    assert_eq!(charges, BTreeMap::from(expected));
    assert!(rows.len() <= expected.len() + 1, "{rows:?}");
    assert_eq!(remaining(&store, budget("b", 100, 0), NOW).await, 90, "the late reservation holds nothing");
}

async fn try_raise(store: &Redis, id: &str, claims: &[Claim], now: u64) -> Result<Raise, Unavailable> {
    let row = Arc::new(entry(id, claims.first().map_or(0, |claim| claim.amount)));
    store.raise(Hold { entry: &row, claims, lease_ms: LEASE }, now).await
}

#[tokio::test]
async fn a_hold_is_raised_by_the_share_while_redis_is_down_and_money_is_not() {
    let server = Server::start();
    let store = Redis::open(hasty(&server).local_share_percent(50)).await.unwrap();
    let rate = |amount| [window("w", 100, amount), slots("s", 8, 1)];
    let money = |amount| [budget("b", 100, amount), window("v", 100, amount)];
    assert!(is_granted(&reserve(&store, "paid", &money(10), NOW).await));
    for id in ["free", "held", "unused", "late"] {
        assert!(is_granted(&reserve(&store, id, &rate(5), NOW).await));
    }
    let is_raised = |answer| matches!(answer, Ok(Raise::Granted { .. }));
    server.hang();
    assert!(try_raise(&store, "paid", &money(20), NOW).await.is_err());
    assert!(is_degraded(&store));
    assert!(at_once(try_raise(&store, "paid", &money(20), NOW)).is_err());
    assert!(at_once(try_raise(&store, "never", &rate(1), NOW)).is_err(), "what it holds is not known here");
    let other = [window("other", 100, 9), slots("s", 8, 1)];
    assert_eq!(at_once(try_raise(&store, "free", &other, NOW)), Ok(Raise::Gone));
    // Half of a hundred, from 5 each: repeated, it takes nothing more.
    for (id, amount) in
        [("free", 25), ("free", 25), ("free", 15), ("held", 10), ("unused", 25), ("unused", 30)]
    {
        assert!(is_raised(at_once(try_raise(&store, id, &rate(amount), NOW))), "{id} {amount}");
    }
    assert_eq!(at_once(remaining(&store, window("w", 100, 0), NOW)), 50 - 20 - 5 - 25);
    let limited = at_once(try_raise(&store, "free", &rate(26), NOW));
    assert!(matches!(limited, Ok(Raise::Limited { claim: 0, retry_after_ms: Some(_), .. })), "{limited:?}");
    // An exchange that began here is raised here.
    assert!(is_granted(&at_once(try_reserve(&store, "local", &[window("x", 100, 10)])).unwrap()));
    assert!(is_raised(at_once(try_raise(&store, "local", &[window("x", 100, 50)], NOW))));
    let limited = at_once(try_raise(&store, "local", &[window("x", 100, 51)], NOW));
    assert!(matches!(limited, Ok(Raise::Limited { retry_after_ms: Some(_), .. })), "{limited:?}");
    let larger = at_once(try_raise(&store, "local", &[window("x", 100, 101)], NOW));
    assert!(larger.is_err(), "51 more are within the limit, and above its share: {larger:?}");
    // What is not used is free at once; what was raised here is held there too when the policy cannot say.
    assert_eq!(store.settle(&completed("unused", 0), Charge::Amounts(&[7, 1]), NOW).await, Ok(Settled::Done));
    assert_eq!(at_once(remaining(&store, window("w", 100, 0), NOW)), 50 - 20 - 5 - 2);
    assert_eq!(store.settle(&completed("held", 10), Charge::Held, NOW).await, Ok(Settled::Done));
    assert_eq!(store.settle(&completed("local", 1), Charge::Held, NOW).await, Ok(Settled::Done));
    store.flush().await.unwrap();

    server.go_on();
    store.reached().await;
    // The raise of the money may have been taken, for all that anybody knows; again, it is once.
    assert!(is_raised(try_raise(&store, "paid", &money(20), NOW).await));
    assert!(is_raised(try_raise(&store, "free", &rate(40), NOW).await));
    assert_eq!(remaining(&store, window("w", 100, 0), NOW).await, 100 - 7 - 10 - 40 - 5);
    assert_eq!(store.settle(&completed("free", 30), Charge::Amounts(&[30, 1]), NOW).await, Ok(Settled::Done));
    assert_eq!(remaining(&store, window("w", 100, 0), NOW).await, 100 - 7 - 10 - 30 - 5);
    assert_eq!(store.settle(&completed("paid", 20), Charge::Held, NOW).await, Ok(Settled::Done));
    assert_eq!(remaining(&store, budget("b", 100, 0), NOW).await, 80);
    // Each has one row, also the one that is lost: an addition of the share has none.
    assert_eq!(store.expire(NOW + 2 * LEASE).await, Ok(1));
    let rows: BTreeSet<String> = all_rows(&store).await.into_iter().map(|row| row.request_id).collect();
    assert_eq!(rows, ["free", "held", "late", "local", "paid", "unused"].map(str::to_owned).into());
}

#[tokio::test]
async fn what_was_never_sent_to_redis_leaves_nothing_to_take_there() {
    let mut server = Server::durable();
    let (name, claims) = (server.new_name(), [budget("b", 100, 10)]);
    let journal = server.journal(&name);
    let options = Options::new(server.url(), &journal).namespace(&name).obey_callers();
    let store = Redis::open(server.patient(options)).await.unwrap();
    assert!(is_granted(&reserve(&store, "granted", &claims, NOW).await));
    server.kill();
    // The first may have been granted for all that anybody knows; from then on nothing is sent.
    for (id, kept) in [("sent", Settled::Done), ("refused", Settled::Unknown), ("again", Settled::Unknown)] {
        assert!(try_reserve(&store, id, &claims).await.is_err());
        assert!(is_degraded(&store));
        assert_eq!(settle(&store, id, Charge::Nothing, NOW).await, kept, "{id}");
    }
    assert_eq!(settle(&store, "granted", Charge::Nothing, NOW).await, Settled::Done);
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 2);
    server.start_again();
    store.reached().await;
    store.flush().await.unwrap();
    assert_eq!(remaining(&store, budget("b", 100, 0), NOW).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_doubles_nothing() {
    let mut server = Server::durable();
    for round in 0..3 {
        let store = Arc::new(server.store().await);
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut clients = JoinSet::new();
        for client in 0..20_u64 {
            let (store, told) = (Arc::clone(&store), told.clone());
            // Each goes on until Redis is gone.
            clients.spawn(async move {
                let mut outcomes = Vec::new();
                for number in 0.. {
                    let id = format!("hold-{client}-{number}");
                    let granted = try_reserve(&store, &id, &[budget("b", 1_000_000, 100)]).await.is_ok();
                    // The test may hear no more.
                    let _: Result<(), _> = told.send(());
                    let charge = number % 7;
                    // One in four is never settled; the last ones do not know whether they were granted.
                    if number % 4 == 0 {
                        outcomes.push((id, granted, None));
                    } else {
                        let settled =
                            store.settle(&completed(&id, charge), Charge::Amounts(&[charge]), NOW).await;
                        assert_eq!(settled, Ok(Settled::Done));
                        outcomes.push((id, granted, Some(charge)));
                    }
                    if !granted {
                        break;
                    }
                }
                outcomes
            });
        }
        for _ in 0..50 + 70 * round {
            heard.recv().await.unwrap();
        }
        server.kill();
        let outcomes = clients.join_all().await.concat();
        let store = Arc::into_inner(store).unwrap();
        server.start_again();
        store.reached().await;
        store.flush().await.unwrap();
        store.expire(NOW + LEASE).await.unwrap();
        let rows = all_rows(&store).await;
        let charges: BTreeMap<&str, u64> =
            rows.iter().map(|row| (row.request_id.as_str(), row.charge)).collect();
        assert_eq!(charges.len(), rows.len(), "settle once: each has one row");
        for (id, granted, settled) in &outcomes {
            match (granted, settled) {
                (true, Some(charge)) => assert_eq!(charges.get(&**id), Some(charge), "{id}"),
                (true, None) => assert_eq!(charges.get(&**id), Some(&100), "{id} is lost, charged as held"),
                (false, Some(charge)) => assert!(charges.get(&**id).is_none_or(|row| row == charge), "{id}"),
                (false, None) => assert!(charges.get(&**id).is_none_or(|row| *row == 100), "{id}"),
            }
        }
        let used = 1_000_000 - remaining(&store, budget("b", 1_000_000, 0), NOW).await;
        assert_eq!(used, charges.values().sum::<u64>(), "conservation");
        assert_eq!(outcomes.iter().filter(|(_, granted, _)| !granted).count(), 20, "each was interrupted");
        store.close().await;
    }
}

#[tokio::test]
async fn what_waits_in_the_journal_survives_the_gateway() {
    let mut server = Server::durable();
    let name = server.new_name();
    let journal = server.journal(&name);
    let options = server.patient(Options::new(server.url(), &journal).namespace(&name)).obey_callers();
    let store = Redis::open(options.clone()).await.unwrap();
    for id in ["one", "two"] {
        assert!(is_granted(&reserve(&store, id, &[budget("b", 100, 10)], NOW).await));
    }
    server.kill();
    assert_eq!(store.settle(&completed("one", 4), Charge::Amounts(&[4]), NOW).await, Ok(Settled::Done));
    assert_eq!(store.settle(&completed("two", 10), Charge::Held, NOW).await, Ok(Settled::Done));
    assert!(is_granted(&try_reserve(&store, "local", &[window("w", 100, 1)]).await.unwrap()));
    assert_eq!(store.settle(&completed("local", 1), Charge::Held, NOW).await, Ok(Settled::Done));
    let second = Redis::open(options.clone()).await.err().unwrap();
    assert!(second.to_string().contains("another process"), "{second}");
    store.close().await;
    let kept = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(kept.lines().count(), 3, "{kept}");
    // Torn by a crash; and what waits may have been taken before the crash.
    std::fs::write(&journal, format!("{kept}{kept}{}", &kept[..50])).unwrap();

    let store = Redis::open(options.clone()).await.unwrap();
    assert!(is_degraded(&store), "it begins without its server");
    server.start_again();
    store.reached().await;
    store.flush().await.unwrap();
    let charges: Vec<(String, u64)> =
        all_rows(&store).await.into_iter().map(|row| (row.request_id, row.charge)).collect();
    assert_eq!(charges, [("local".to_owned(), 1), ("one".to_owned(), 4), ("two".to_owned(), 10)]);
    assert_eq!(remaining(&store, budget("b", 100, 0), NOW).await, 86);
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "");
    store.close().await;
    std::fs::write(&journal, "{\"settle\":{}}\n").unwrap();
    let wrong = Redis::open(options).await.err().unwrap().to_string();
    assert!(wrong.contains("line 1"), "{wrong}");
}

#[tokio::test]
async fn an_exchange_granted_on_both_sides_is_one() {
    let server = Server::start();
    let store = Redis::open(hasty(&server)).await.unwrap();
    let claims = [window("w", 100, 1), slots("s", 8, 1)];
    server.hang();
    // It is sent, not answered in time, and granted by the share; the server reads it when it goes on.
    assert!(is_granted(&try_reserve(&store, "one", &claims).await.unwrap()));
    server.go_on();
    store.reached().await;
    assert!(is_granted(&try_reserve(&store, "one", &claims).await.unwrap()));
    assert_eq!(store.settle(&completed("one", 1), Charge::Held, NOW).await, Ok(Settled::Done));
    store.flush().await.unwrap();
    assert_eq!(remaining(&store, slots("s", 8, 0), NOW).await, 8, "its slot there is free");
    assert_eq!(store.expire(NOW + LEASE).await, Ok(0));
    let ids: BTreeSet<String> = all_rows(&store).await.into_iter().map(|row| row.request_id).collect();
    assert_eq!(ids, BTreeSet::from(["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_began_here_end_while_redis_takes_them() {
    let server = Server::start();
    let store = Arc::new(Redis::open(hasty(&server)).await.unwrap());
    server.hang();
    for number in 0..400 {
        let granted = try_reserve(&store, &format!("hold-{number}"), &[window("w", 10_000, 1)]).await;
        assert!(is_granted(&granted.unwrap()));
    }
    server.go_on();
    store.reached().await;
    let mut settled = JoinSet::new();
    for number in 0..400 {
        let store = Arc::clone(&store);
        settled.spawn(async move { settle(&*store, &format!("hold-{number}"), Charge::Held, NOW).await });
    }
    assert!(settled.join_all().await.into_iter().all(|settled| settled == Settled::Done));
    store.flush().await.unwrap();
    let ids: BTreeSet<String> = all_rows(&*store).await.into_iter().map(|row| row.request_id).collect();
    assert_eq!(ids.len(), 400);
}

#[tokio::test]
async fn no_error_tells_the_password() {
    let server = Server::with(&["--save", "", "--requirepass", "hunter2hunter2"]);
    let wrong = format!("redis://:hunter3hunter3@127.0.0.1:{}", server.port);
    for url in [wrong, "redis://:hunter3hunter3@127.0.0.1:1".to_owned()] {
        let store =
            Redis::open(server.patient(Options::new(url, server.journal(&server.new_name())))).await.unwrap();
        let error = try_reserve(&store, "one", &[budget("b", 1, 1)]).await.unwrap_err();
        assert!(is_degraded(&store));
        assert!(!error.to_string().contains("hunter") && error.to_string().len() > 40, "{error}");
        assert!(!format!("{:?}", store.condition()).contains("hunter"));
    }
    let right = format!("redis://:hunter2hunter2@127.0.0.1:{}", server.port);
    let store =
        Redis::open(server.patient(Options::new(right, server.journal(&server.new_name())))).await.unwrap();
    assert_eq!(store.condition(), Condition::Sound);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_down() {
    let server = Server::start();
    let store = server.store().await;
    let mut on = server.connection().await;
    let mut replica_of = async |host: &str, port: &str| {
        let () = redis::cmd("REPLICAOF").arg(host).arg(port).query_async(&mut on).await.unwrap();
    };
    replica_of("127.0.0.1", "1").await;
    assert!(try_reserve(&store, "one", &[budget("b", 1, 1)]).await.is_err());
    assert!(is_degraded(&store));
    assert!(is_granted(&try_reserve(&store, "two", &[window("w", 4, 1)]).await.unwrap()));
    replica_of("NO", "ONE").await;
    store.reached().await;
    assert_eq!(store.condition(), Condition::Sound);
}
