//! An event as a JSON object: when, how bad, its own fields, and where it comes from.
//!
//! Every exchange writes one, so it is written straight into its line: the general formatter of tracing-subscriber
//! took a tenth of all that an exchange costs.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;

use super::sink::Sink;

/// Writes every event to a sink.
pub(super) struct Json {
    sink: Arc<Sink>,
}

impl Json {
    pub(super) fn new(sink: Arc<Sink>) -> Self {
        Self { sink }
    }
}

thread_local! {
    /// The line that a thread writes.
    static LINE: RefCell<String> = RefCell::new(String::with_capacity(1024));
}

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.write(event, &mut line),
            // An event inside the writing of an event, from a `Debug` that logs.
            Err(_) => self.write(event, &mut String::new()),
        });
    }
}

impl Json {
    fn write(&self, event: &Event<'_>, line: &mut String) {
        line.clear();
        line.push_str("{\"timestamp\":\"");
        // Writing to a string does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(line));
        line.push_str("\",\"level\":\"");
        line.push_str(event.metadata().level().as_str());
        line.push('"');
        event.record(&mut Fields(line));
        line.push_str(",\"target\":");
        text(line, event.metadata().target());
        line.push_str("}\n");
        self.sink.put(line.as_bytes());
    }
}

struct Fields<'l>(&'l mut String);

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        self.0.push(',');
        text(self.0, field.name());
        self.0.push(':');
    }

    fn number(&mut self, field: &Field, value: impl itoa::Integer) {
        self.name(field);
        self.0.push_str(itoa::Buffer::new().format(value));
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.0.push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        text(self.0, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        text(self.0, &format!("{value:?}"));
    }
}

/// A JSON string.
fn text(line: &mut String, value: &str) {
    // Where nothing needs to be escaped, which is nearly always, the text is copied as it is. All bytes are looked at,
    // for many of them can be at once.
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if !value.bytes().fold(false, |is_special, byte| is_special | special(byte)) {
        line.push('"');
        line.push_str(value);
        line.push('"');
        return;
    }
    // Writing a string to memory does not fail.
    line.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".into()));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn every_event_is_one_line_of_json() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sink = Sink::start(writer).unwrap();
        let subscriber = tracing_subscriber::registry().with(Json::new(Arc::clone(&sink)));
        tracing::subscriber::with_default(subscriber, || {
            let odd = "a \"quoted\" line\nand \u{1}another";
            tracing::info!(
                odd,
                number = 5_u64,
                below = -5,
                yes = true,
                "gen_ai.x" = Some("y"),
                gone = None::<&str>,
                "told {}",
                odd
            );
            tracing::error!(cause = %odd, "second");
        });
        sink.close();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let odd = "a \"quoted\" line\nand \u{1}another";
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], format!("told {odd}"));
        assert_eq!(lines[0]["odd"], odd);
        assert_eq!((&lines[0]["number"], &lines[0]["below"]), (&5.into(), &(-5).into()));
        assert_eq!((&lines[0]["yes"], &lines[0]["gen_ai.x"]), (&true.into(), &"y".into()));
        assert_eq!(lines[0].get("gone"), None);
        assert_eq!((&lines[1]["level"], &lines[1]["cause"]), (&"ERROR".into(), &odd.into()));
        assert_eq!(lines[0]["target"], "tollgate::log::json::tests");
        let time = lines[0]["timestamp"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
}
