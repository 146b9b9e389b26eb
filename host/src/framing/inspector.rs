//! Walks over a connection's bytes, request by request, and says how far they are sound. Does no I/O and copies
//! nothing: bytes that were not cleared are shown again, with more behind them.

use super::Violation;
use super::chunked::{Chunks, Step, Trailers};
use super::head::{Body, Head, Read};

/// Where in the connection's bytes the walk is.
#[derive(Debug)]
pub struct Inspector {
    head_limit: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// This many bytes of a body are still to come.
    Length(u64),
    Chunks(Chunks),
    Trailers(Trailers),
}

impl Inspector {
    pub fn new(head_limit: usize) -> Self {
        Self { head_limit, state: State::Head(Head::default()) }
    }

    /// Looks at the bytes that follow those cleared so far: how many of them are cleared, and what is wrong behind
    /// them. The answers do not depend on how the bytes were split. After a violation there is nothing to ask.
    pub fn inspect(&mut self, bytes: &[u8]) -> (usize, Option<Violation>) {
        let mut cleared = 0;
        while let Some(rest) = bytes.get(cleared..)
            && !rest.is_empty()
        {
            match self.step(rest) {
                Ok(0) => break,
                Ok(some) => cleared += some,
                Err((some, violation)) => return (cleared + some, Some(violation)),
            }
        }
        (cleared, None)
    }

    /// Clears some bytes, or none until there are more.
    fn step(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        match &mut self.state {
            State::Head(head) => match head.read(rest, self.head_limit).map_err(|wrong| (0, wrong))? {
                Read::Partial => Ok(0),
                Read::Complete { length, body } => {
                    self.state = match body {
                        Body::None => State::Head(Head::default()),
                        Body::Length(body) => State::Length(body),
                        Body::Chunked => State::Chunks(Chunks::default()),
                    };
                    Ok(length)
                }
            },
            State::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= here as u64;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(here)
            }
            State::Chunks(chunks) => match chunks.read(rest)? {
                Step::More(length) => Ok(length),
                Step::Last(length) => {
                    self.state = State::Trailers(Trailers::default());
                    Ok(length)
                }
            },
            State::Trailers(trailers) => {
                let length = trailers.read(rest).map_err(|wrong| (0, wrong))?;
                if length > 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(length)
            }
        }
    }
}
