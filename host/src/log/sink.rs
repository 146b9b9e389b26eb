//! Where lines gather until they are written.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines gather after some were written.
const PAUSE: Duration = Duration::from_millis(5);

/// The most bytes that wait to be written.
const ROOM: usize = 8 << 20;

/// A buffer and the thread that empties it.
pub(super) struct Sink {
    state: Mutex<State>,
    changed: Condvar,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    /// Whether the thread waits for a line.
    waiting: bool,
    closed: bool,
}

impl Sink {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let sink =
            Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), writer: Mutex::new(None) });
        let mine = Arc::clone(&sink);
        let writer = thread::Builder::new().name("tollgate-log".into()).spawn(move || mine.run(output))?;
        *sink.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(sink)
    }

    /// Takes one whole line.
    pub(super) fn put(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines.len().saturating_add(line.len()) > ROOM {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.lines.extend_from_slice(line);
        if state.waiting {
            self.changed.notify_one();
        }
    }

    /// Writes what is there and ends the thread.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has nothing left to say.
        let _ended = writer.map(JoinHandle::join);
    }

    fn run(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.state();
            while state.lines.is_empty() && state.dropped == 0 && !state.closed {
                state.waiting = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting = false;
            }
            std::mem::swap(&mut state.lines, &mut lines);
            let dropped = std::mem::take(&mut state.dropped);
            let closed = state.closed;
            drop(state);
            // Nobody is left to be told that standard error is gone.
            let _ = output.write_all(&lines);
            if dropped > 0 {
                let _ = writeln!(
                    output,
                    "{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"lines\":{dropped}}}"
                );
            }
            lines.clear();
            if closed {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event's text, which is written piece by piece.
pub(super) struct Line {
    sink: Arc<Sink>,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.sink.put(&self.text);
    }
}

/// The sink, as the text format writes to it.
pub(super) struct Lines(pub(super) Arc<Sink>);

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { sink: Arc::clone(&self.0), text: Vec::with_capacity(256) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn lines_come_out_in_order_and_the_last_ones_at_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let sink = Sink::start(writer).unwrap();
        for number in 0..1_000 {
            sink.put(format!("{number}\n").as_bytes());
        }
        sink.close();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let (mut reader, writer) = io::pipe().unwrap();
        let sink = Sink::start(writer).unwrap();
        let line = vec![b'x'; ROOM / 4];
        for _ in 0..20 {
            sink.put(&line);
        }
        let reading = thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        sink.close();
        let text = reading.join().unwrap().unwrap();
        assert!(String::from_utf8_lossy(&text).contains("log lines were dropped"));
    }
}
