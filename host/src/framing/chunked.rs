//! The framing of a chunked body (RFC 9112, section 7.1), byte for byte: sizes are hexadecimal digits and nothing
//! else, extensions are bounded, every line ends with CR LF, trailers are header lines that cannot change the
//! framing.

use super::Violation;
use super::head::{Line, field};

/// A size has at most this many digits: a chunk of less than 2^48 bytes.
const SIZE_DIGITS: u8 = 12;

/// All extensions of one body together; nobody uses them, except to send many bytes that count as none.
const EXTENSION_LIMIT: u32 = 8 * 1024;

/// The trailers of one body.
const TRAILER_LIMIT: usize = 8 * 1024;

/// The chunks of a body, up to and including the line of the last one.
#[derive(Debug, Default)]
pub struct Chunks {
    at: At,
    /// Of this chunk: what its size says so far, then what is still to come.
    size: u64,
    digits: u8,
    extensions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// How far the chunks were read.
pub enum Step {
    /// All bytes, and there are more to come.
    More(usize),
    /// Up to the trailers.
    Last(usize),
}

impl Chunks {
    /// Reads until the bytes or the chunks end. An error comes with the number of bytes before it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Step, (usize, Violation)> {
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            match self.at {
                At::Data => {
                    let rest = bytes.len() - place;
                    let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
                    self.size -= here as u64;
                    place += here;
                    if self.size == 0 {
                        self.at = At::DataCr;
                    }
                    continue;
                }
                At::Size => self.size_byte(*byte).map_err(|wrong| (place, wrong))?,
                At::Extension => self.extension_byte(*byte).map_err(|wrong| (place, wrong))?,
                At::SizeLf if *byte == b'\n' && self.size == 0 => return Ok(Step::Last(place + 1)),
                At::SizeLf if *byte == b'\n' => self.at = At::Data,
                At::DataCr if *byte == b'\r' => self.at = At::DataLf,
                At::DataLf if *byte == b'\n' => {
                    self.at = At::Size;
                    self.digits = 0;
                }
                At::SizeLf | At::DataCr | At::DataLf => return Err((place, Violation::ChunkEnd)),
            }
            place += 1;
        }
        Ok(Step::More(place))
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), Violation> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.digits > 0 => {
                self.at = At::Extension;
                return Ok(());
            }
            b'\r' if self.digits > 0 => {
                self.at = At::SizeLf;
                return Ok(());
            }
            b'\n' if self.digits > 0 => return Err(Violation::ChunkEnd),
            _ => return Err(Violation::ChunkSize),
        };
        self.digits += 1;
        if self.digits > SIZE_DIGITS {
            return Err(Violation::ChunkTooLarge);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(())
    }

    fn extension_byte(&mut self, byte: u8) -> Result<(), Violation> {
        match byte {
            b'\r' => self.at = At::SizeLf,
            b'\n' => return Err(Violation::ChunkEnd),
            b'\t' | b' '..=b'~' | 0x80.. => {
                self.extensions += 1;
                if self.extensions > EXTENSION_LIMIT {
                    return Err(Violation::ExtensionTooLong);
                }
            }
            _ => return Err(Violation::ChunkExtension),
        }
        Ok(())
    }
}

/// What follows the last chunk: header lines, and an empty one.
#[derive(Debug, Default)]
pub struct Trailers {
    line: Line,
}

impl Trailers {
    /// Reads from the first byte of the trailers. The length of all of them, or 0 until they are complete.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        while let Some(line) = self.line.next(bytes, TRAILER_LIMIT).map_err(as_trailer)? {
            if line.is_empty() {
                return Ok(self.line.end());
            }
            let (name, _) = field(line).map_err(as_trailer)?;
            let framing = [&b"content-length"[..], b"transfer-encoding", b"host", b"trailer", b"connection"];
            if framing.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                return Err(Violation::TrailerName);
            }
        }
        Ok(0)
    }
}

fn as_trailer(in_a_head: Violation) -> Violation {
    match in_a_head {
        Violation::HeadTooLarge => Violation::TrailersTooLarge,
        _ => Violation::Trailer,
    }
}
