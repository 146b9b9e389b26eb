//! The rows of the books, read where the host writes them: in its log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Condvar, Mutex, OnceLock};

use tollgate_policy::message::{Price, Usage};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::wire::PATIENCE;

/// One exchange as the log has it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The status the client got.
    pub status: u16,
    /// How it ended, in the words of the WIT.
    pub ending: String,
    /// What it used, if claims were granted.
    pub usage: Option<Usage>,
}

/// All rows that this process wrote.
#[derive(Default)]
pub struct Records {
    rows: Mutex<Vec<BTreeMap<String, String>>>,
    written: Condvar,
}

struct Writer(&'static Records);

impl Records {
    /// Begins to listen to this process's log.
    pub fn of_this_process() -> &'static Self {
        static RECORDS: OnceLock<&Records> = OnceLock::new();
        RECORDS.get_or_init(|| {
            let records: &'static Self = Box::leak(Box::default());
            let subscriber = tracing_subscriber::registry().with(Writer(records));
            tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
            records
        })
    }

    /// Forgets what was written so far.
    pub fn forget(&self) {
        self.rows.lock().unwrap().clear();
    }

    /// The row of an exchange, once it is written. There must be only one.
    pub fn wait_for(&self, request_id: &str) -> Record {
        let is_it =
            |row: &&BTreeMap<String, String>| row.get("request_id").is_some_and(|id| id == request_id);
        let rows = self.rows.lock().unwrap();
        let (rows, timeout) = self
            .written
            .wait_timeout_while(rows, PATIENCE, |rows| !rows.iter().any(|row| is_it(&row)))
            .unwrap();
        assert!(!timeout.timed_out(), "no row was written for {request_id}");
        let mine: Vec<_> = rows.iter().filter(is_it).collect();
        assert_eq!(mine.len(), 1, "an exchange is settled once: {mine:?}");
        record(mine[0])
    }
}

/// A row of the log, taken apart.
pub fn record(row: &BTreeMap<String, String>) -> Record {
    let text =
        |name: &str| row.get(name).cloned().unwrap_or_else(|| panic!("the row has no {name}: {row:?}"));
    let count = |name: &str| text(name).parse().unwrap();
    let usage = row.contains_key("currency").then(|| Usage {
        key: text("key"),
        model: text("gen_ai.request.model"),
        upstream: row.get("upstream").cloned(),
        upstream_model: row.get("gen_ai.response.model").cloned(),
        input_tokens: count("gen_ai.usage.input_tokens"),
        cached_input_tokens: count("gen_ai.usage.cache_read.input_tokens"),
        cache_write_tokens: count("gen_ai.usage.cache_creation.input_tokens"),
        output_tokens: count("gen_ai.usage.output_tokens"),
        reasoning_tokens: count("gen_ai.usage.reasoning.output_tokens"),
        estimated: text("estimated") == "true",
        charge: count("charge_nano"),
        currency: text("currency"),
        price: Price {
            input: count("price_input_pico"),
            cached_input: count("price_cached_input_pico"),
            cache_write: count("price_cache_write_pico"),
            output: count("price_output_pico"),
            reasoning: count("price_reasoning_pico"),
            since_ms: row.get("price_since_ms").map(|ms| ms.parse().unwrap()),
            source: row.get("price_source").cloned(),
        },
    });
    Record { status: text("status").parse().unwrap(), ending: text("outcome").replace('_', "-"), usage }
}

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut row = Row::default();
        event.record(&mut row);
        if row.0.get("message").is_some_and(|message| message == "exchange") {
            self.0.rows.lock().unwrap().push(row.0);
            self.0.written.notify_all();
        }
    }
}

#[derive(Default)]
struct Row(BTreeMap<String, String>);

impl Visit for Row {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
