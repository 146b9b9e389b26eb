//! A clock that jumps by a month, forward and back, under a running server and between two: books stay true, and no
//! budget is spent twice.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::runtime::Runtime;
use tollgate_ledger::Entry;
use tollgate_tests::crowd::{COST, Got, Line, budget, config, provider, secret};
use tollgate_tests::programs::{RedisServer, Serving, folder, tollgate, until};

const SQLITE: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"1h\"\n";

/// Leases go by the clock of Redis, which is right. A busy machine is no outage.
const REDIS: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\nlease = \"3s\"\nstore = \"redis\"\n\
                     url = { env = \"REDIS_URL\" }\ntimeout = \"60s\"\n";

/// How many requests the budget of a month is for.
const MONTHLY: usize = 7;

/// A clock that a file moves.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        let clock = Self { file: folder.join("clock") };
        clock.moved_by("+0d");
        clock
    }

    /// Sets it this far from the machine's.
    fn moved_by(&self, span: &str) {
        // In one step: nobody may read half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{span}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// What a program needs in its environment to go by it. Waits go by the machine's.
    fn environment(&self) -> Vec<(String, String)> {
        let libraries = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library =
            libraries.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        let library = library.unwrap_or_else(|| panic!("libfaketime is missing: apt install faketime"));
        [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

/// What happens with each store.
struct World<'w> {
    runtime: Runtime,
    place: &'w Path,
    clock: Clock,
    tables: String,
    redis: Option<String>,
}

impl World<'_> {
    fn configure(&self) -> PathBuf {
        let keys = [
            ("monthly", format!("budget = \"{}\"", budget(MONTHLY as u64))),
            ("streaming", format!("budget = \"{}\"", budget(1_000))),
        ];
        let file = self.place.join("tollgate.toml");
        fs::write(&file, config(provider(&self.runtime), &keys, &self.tables)).unwrap();
        file
    }

    fn start(&self, file: &Path) -> Serving {
        let mut command: Command = tollgate(self.place);
        command.envs(self.clock.environment());
        if let Some(url) = &self.redis {
            command.env("REDIS_URL", url);
        }
        Serving::run(command, file)
    }

    fn ask(&self, serving: &Serving) -> Got {
        self.runtime.block_on(async { Line::to(serving.address).await.ask(&secret("monthly")).await })
    }

    /// Asks until it is refused; how often it was served.
    fn spend(&self, serving: &Serving) -> usize {
        for served in 0.. {
            let got = self.ask(serving);
            if got.status != 200 {
                assert_eq!((got.status, &*got.code), (429, "insufficient_quota"));
                return served;
            }
        }
        unreachable!()
    }

    /// Begins a stream that lasts for as long as it is kept.
    fn stream(&self, serving: &Serving) -> (Line, Got) {
        let address = serving.address;
        self.runtime.block_on(async move {
            let mut line = Line::to(address).await;
            let got = line.begin_stream(&secret("streaming")).await;
            (line, got)
        })
    }

    /// A clock of a month ahead, and back: while the server runs, and while it does not.
    fn jump(&self) {
        let file = self.configure();
        let serving = self.start(&file);
        assert_eq!(self.spend(&serving), MONTHLY);
        let mut streams = vec![self.stream(&serving)];

        // Ahead while it runs: another month has its own budget, and leases have passed.
        self.clock.moved_by("+31d");
        assert_eq!(self.spend(&serving), MONTHLY);
        until("a row for the stream whose lease passed", || row_of(&serving, &streams[0].1.id));
        streams.push(self.stream(&serving));
        // Back: what was spent is spent.
        self.clock.moved_by("+0d");
        assert_eq!(self.spend(&serving), 0);
        // Further back than it ever was: at most that month's own budget.
        self.clock.moved_by("-31d");
        assert!(self.spend(&serving) <= MONTHLY);
        serving.kill();

        // Between: ahead by two months, so that what is over is cleared away; and back to the first.
        self.clock.moved_by("+62d");
        let serving = self.start(&file);
        assert_eq!(self.spend(&serving), MONTHLY);
        until("a row for each stream", || row_of(&serving, &streams[1].1.id));
        streams.push(self.stream(&serving));
        serving.kill();
        self.clock.moved_by("+0d");
        let serving = self.start(&file);
        assert_eq!(self.spend(&serving), 0, "the first month is spent");
        // The stream that began two months ahead has a lease that ends: some hours later, not in two months.
        let mut hours = 0;
        until("a row for the last stream", || {
            hours += 2;
            self.clock.moved_by(&format!("+{hours}h"));
            row_of(&serving, &streams[2].1.id)
        });
        assert!(hours < 60 * 24, "{hours} hours");
        for later in ["+31d", "+62d"] {
            self.clock.moved_by(later);
            assert_eq!(self.spend(&serving), 0, "{later}: that month is spent");
        }
        let rows = serving.rows();
        self.conserves(&serving, &rows, &streams.iter().map(|(_, got)| got).collect::<Vec<_>>());
        serving.stop();
    }

    /// The same where only this server is wrong about the time, and what it shares with others is not.
    fn jump_beside_redis(&self) {
        let file = self.configure();
        let serving = self.start(&file);
        assert_eq!(self.spend(&serving), MONTHLY);
        let mut streams = vec![self.stream(&serving)];
        self.clock.moved_by("+31d");
        assert_eq!(self.spend(&serving), MONTHLY);
        streams.push(self.stream(&serving));
        self.clock.moved_by("-31d");
        assert!(self.spend(&serving) <= MONTHLY);
        self.clock.moved_by("+0d");
        assert_eq!(self.spend(&serving), 0);
        serving.kill();

        self.clock.moved_by("+62d");
        let serving = self.start(&file);
        assert_eq!(self.spend(&serving), MONTHLY);
        streams.push(self.stream(&serving));
        serving.kill();
        self.clock.moved_by("+0d");
        let serving = self.start(&file);
        for (_, got) in &streams {
            until("a row for each stream", || row_of(&serving, &got.id));
        }
        for month in ["+0d", "+31d", "+62d"] {
            self.clock.moved_by(month);
            assert_eq!(self.spend(&serving), 0, "{month}: that month is spent");
        }
        let rows = serving.rows();
        self.conserves(&serving, &rows, &streams.iter().map(|(_, got)| got).collect::<Vec<_>>());
        serving.stop();
    }

    /// Invariants: settle once, conservation.
    fn conserves(&self, serving: &Serving, rows: &[Entry], streams: &[&Got]) {
        let ids: HashSet<&str> = rows.iter().map(|row| row.request_id.as_str()).collect();
        assert_eq!(ids.len(), rows.len(), "no exchange has two rows");
        for got in streams {
            let row = rows.iter().find(|row| row.request_id == got.id).unwrap();
            assert_eq!(row.charge, COST, "{row:?}");
        }
        assert!(rows.iter().all(|row| row.charge == COST));
        for month in ["+0d", "+31d", "+62d"] {
            self.clock.moved_by(month);
            assert_eq!(serving.spent("monthly"), MONTHLY as u64 * COST, "{month}");
        }
    }
}

fn row_of(serving: &Serving, id: &str) -> Option<Entry> {
    serving.rows().into_iter().find(|row| row.request_id == id)
}

#[test]
fn a_clock_that_jumps_by_a_month_changes_no_books_in_a_file() {
    let place = folder();
    let (clock, runtime, tables) = (Clock::new(place.path()), Runtime::new().unwrap(), SQLITE.into());
    World { runtime, place: place.path(), clock, tables, redis: None }.jump();
}

/// One server's clock, that is: Redis cannot run with another clock than the machine's.
#[test]
fn a_clock_that_jumps_by_a_month_changes_no_books_in_redis() {
    let (place, redis) = (folder(), RedisServer::start());
    let (clock, runtime, tables) = (Clock::new(place.path()), Runtime::new().unwrap(), REDIS.into());
    let world = World { runtime, place: place.path(), clock, tables, redis: Some(redis.url()) };
    world.jump_beside_redis();
    assert_eq!(redis.number("ZCARD {tollgate}leases"), 0, "no hold is open");
}
