//! Settlements that Redis did not take, in a file of this gateway: one JSON object a line, in the order they came.
//!
//! A line is on the disk before anybody is told that it is kept. A line that a crash tore was never told of: it is
//! cut off and reported. The file is emptied when all of it has reached Redis. One thread owns it, and writes what
//! has come meanwhile with one sync. It decides nothing about the books.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tollgate_ledger::{Charge, Entry, Unavailable};

use crate::options::NotOpened;

/// Lines of one [`Batch`].
const BATCH: usize = 256;

/// Something that Redis has to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A hold in Redis is settled.
    Settle {
        /// The exchange's row.
        entry: Entry,
        /// What it is charged.
        charge: Cost,
    },
    /// An exchange that the local share granted is over.
    Record {
        /// The exchange's row.
        entry: Entry,
    },
}

/// A [`Charge`] that outlives its caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// See [`Charge::Amounts`].
    Amounts(Vec<u64>),
    /// See [`Charge::Held`].
    Held,
    /// See [`Charge::Nothing`].
    Nothing,
}

impl From<Charge<'_>> for Cost {
    fn from(charge: Charge<'_>) -> Self {
        match charge {
            Charge::Amounts(amounts) => Self::Amounts(amounts.to_vec()),
            Charge::Held => Self::Held,
            Charge::Nothing => Self::Nothing,
        }
    }
}

impl Cost {
    /// The same as a [`Charge`].
    pub fn charge(&self) -> Charge<'_> {
        match self {
            Self::Amounts(amounts) => Charge::Amounts(amounts),
            Self::Held => Charge::Held,
            Self::Nothing => Charge::Nothing,
        }
    }
}

/// Lines from one place of the file to another.
#[derive(Debug, Default)]
pub struct Batch {
    /// In their order.
    pub lines: Vec<Line>,
    /// Bytes from the file's begin: where the next batch begins.
    pub end: u64,
}

/// The file's owner. Dropped, it has closed the file.
pub struct Journal {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    length: Arc<AtomicU64>,
    /// How long a caller waits for the disk.
    bound: Duration,
}

enum Command {
    Append { lines: Vec<u8>, done: oneshot::Sender<io::Result<()>> },
    Read { from: u64, batch: oneshot::Sender<io::Result<Batch>> },
    Clear { at: u64, done: oneshot::Sender<io::Result<bool>> },
}

impl Journal {
    /// Opens or makes the file, and takes it for this process alone.
    pub fn open(path: &Path, bound: Duration) -> Result<Self, NotOpened> {
        let wrong = |error: io::Error| NotOpened(format!("the journal {}: {error}", path.display()));
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(NotOpened(format!("the journal {} is another process's", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        sync_folder(path).map_err(wrong)?;
        cut_torn_line(&mut file, path).map_err(wrong)?;
        let length = file.metadata().map_err(wrong)?.len();
        let mut owner = Owner { file, length: Arc::new(AtomicU64::new(length)), path: path.to_owned() };
        owner.check().map_err(wrong)?;
        let length = Arc::clone(&owner.length);
        let (commands, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("ledger-journal".to_owned());
        let thread = thread.spawn(move || owner.serve(&inbox)).map_err(wrong)?;
        Ok(Self { commands: Some(commands), thread: Some(thread), length, bound })
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the lines that wait.
    pub fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Keeps lines: they are on the disk when this is ready. They are on their way as soon as it is asked: a caller
    /// that leaves takes nothing back.
    pub async fn append(&self, lines: &[Line]) -> Result<(), Unavailable> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line).map_err(|error| unavailable(&error.into()))?;
            bytes.push(b'\n');
        }
        match timeout(self.bound, self.told(|done| Command::Append { lines: bytes, done })).await {
            Ok(kept) => kept,
            Err(_) => Err(Unavailable::new(format!("the journal was not written within {:?}", self.bound))),
        }
    }

    /// The lines from this place on, some of them.
    pub async fn read(&self, from: u64) -> Result<Batch, Unavailable> {
        self.told(|batch| Command::Read { from, batch }).await
    }

    /// Empties the file, if nothing was appended since it ended `at` this place. True: it is empty.
    pub async fn clear(&self, at: u64) -> Result<bool, Unavailable> {
        self.told(|done| Command::Clear { at, done }).await
    }

    async fn told<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Command,
    ) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        let gone = || Unavailable::new("the journal is closed");
        let commands = self.commands.as_ref().ok_or_else(gone)?;
        commands.send(command(done)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(|error| unavailable(&error))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // It ends with its inbox, and panics nowhere.
            let _: Result<(), _> = thread.join();
        }
    }
}

fn unavailable(error: &io::Error) -> Unavailable {
    Unavailable::new(format!("the journal: {error}"))
}

struct Owner {
    file: File,
    /// Bytes of whole lines.
    length: Arc<AtomicU64>,
    path: PathBuf,
}

impl Owner {
    fn serve(mut self, inbox: &mpsc::Receiver<Command>) {
        while let Ok(first) = inbox.recv() {
            let mut lines = Vec::new();
            let mut waiting = Vec::new();
            for command in [first].into_iter().chain(inbox.try_iter()) {
                // Nobody who has left is told.
                match command {
                    Command::Append { lines: more, done } => {
                        lines.extend(more);
                        waiting.push(done);
                    }
                    Command::Read { from, batch } => drop(batch.send(self.read(from))),
                    Command::Clear { at, done } => drop(done.send(self.clear(at))),
                }
            }
            if waiting.is_empty() {
                continue;
            }
            let written = self.append(&lines);
            for done in waiting {
                let answer = written.as_ref().map(|&()| ()).map_err(|error| io::Error::from(error.kind()));
                drop(done.send(answer));
            }
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = self.length.load(Ordering::Acquire);
        // What a failed write has left is no line.
        if self.file.metadata()?.len() != length {
            self.file.set_len(length)?;
        }
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.length.fetch_add(u64::try_from(lines.len()).unwrap_or(0), Ordering::AcqRel);
        Ok(())
    }

    fn read(&mut self, from: u64) -> io::Result<Batch> {
        let length = self.length.load(Ordering::Acquire);
        self.file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::new((&self.file).take(length.saturating_sub(from)));
        let mut batch = Batch { lines: Vec::new(), end: from };
        while batch.lines.len() < BATCH {
            let mut line = Vec::new();
            let bytes = reader.read_until(b'\n', &mut line)?;
            if bytes == 0 {
                break;
            }
            batch.lines.push(serde_json::from_slice(&line)?);
            batch.end = batch.end.saturating_add(u64::try_from(bytes).unwrap_or(0));
        }
        Ok(batch)
    }

    fn clear(&mut self, at: u64) -> io::Result<bool> {
        let all = self.length.load(Ordering::Acquire) == at;
        if all {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            self.length.store(0, Ordering::Release);
        }
        Ok(all)
    }

    /// Reads all of it: what cannot be read is better known before the first exchange.
    fn check(&mut self) -> io::Result<()> {
        let mut reader = BufReader::new(&self.file);
        reader.seek(SeekFrom::Start(0))?;
        let mut lines = 0_usize;
        for line in reader.lines() {
            lines = lines.saturating_add(1);
            let read = serde_json::from_str::<Line>(&line?);
            read.map_err(|error| io::Error::other(format!("line {lines} is no settlement: {error}")))?;
        }
        if lines > 0 {
            tracing::warn!(path = %self.path.display(), lines, "settlements wait in the journal");
        }
        Ok(())
    }
}

/// Cuts off what comes after the last whole line.
fn cut_torn_line(file: &mut File, path: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    if whole < bytes.len() {
        let torn = bytes.len().saturating_sub(whole);
        tracing::warn!(path = %path.display(), bytes = torn, "the journal's last line was torn: it was never kept");
        file.set_len(u64::try_from(whole).unwrap_or(0))?;
        file.sync_data()?;
    }
    Ok(())
}

/// A new file is there after a crash only when its folder says so.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, charge: Cost) -> Line {
        Line::Settle { entry: Entry { request_id: id.to_owned(), ..Entry::default() }, charge }
    }

    #[tokio::test]
    async fn lines_are_read_as_they_were_kept_and_cleared_only_when_all_were_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let record = Line::Record { entry: Entry::default() };
        let lines = [
            line("a", Cost::Amounts(vec![1, u64::MAX])),
            line("b", Cost::Held),
            line("c", Cost::Nothing),
            record,
        ];
        let journal = Journal::open(&path, Duration::MAX).unwrap();
        for lines in lines.chunks(3) {
            journal.append(lines).await.unwrap();
        }
        drop(journal);
        let journal = Journal::open(&path, Duration::MAX).unwrap();
        let batch = journal.read(0).await.unwrap();
        assert_eq!(batch.lines, lines);
        journal.append(&lines[..1]).await.unwrap();
        assert!(!journal.clear(batch.end).await.unwrap() && !journal.is_empty());
        let rest = journal.read(batch.end).await.unwrap();
        assert_eq!(rest.lines, lines[..1]);
        assert!(journal.clear(rest.end).await.unwrap());
        assert!(journal.is_empty() && std::fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_written_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "").unwrap();
        // A file that was opened to be read stands for a disk that is full.
        let file = File::open(&path).unwrap();
        let mut owner = Owner { file, length: Arc::new(AtomicU64::new(0)), path };
        assert!(owner.append(b"{}\n").is_err());
        assert_eq!(owner.length.load(Ordering::Acquire), 0);
    }
}
