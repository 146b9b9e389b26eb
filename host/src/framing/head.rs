//! The head of a request (RFC 9112, sections 2 to 6), line by line as the lines come in.

use super::{MAX_HEADERS, Violation};

/// Longer targets are of no use to an API.
const TARGET_LIMIT: usize = 16 * 1024;

/// A head of which some lines may have been read.
#[derive(Debug, Default)]
pub struct Head {
    line: Line,
    /// None until the request line was read.
    minor: Option<u8>,
    fields: usize,
    host: bool,
    length: Option<u64>,
    chunked: bool,
}

/// How far a head was read.
pub enum Read {
    /// It is sound so far, and there is more to come.
    Partial,
    /// It is sound.
    Complete {
        /// Bytes of the head, its empty line included.
        length: usize,
        /// What follows it.
        body: Body,
    },
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// By its length.
    Length(u64),
    /// By chunks.
    Chunked,
}

impl Head {
    /// Reads on. `bytes` begin with the head's first byte, each time.
    pub fn read(&mut self, bytes: &[u8], limit: usize) -> Result<Read, Violation> {
        loop {
            let next = self.line.rest(bytes).first();
            if self.minor.is_none() && next.is_some_and(|byte| !begins_a_request(*byte)) {
                // Said at once: a TLS handshake may not contain a line end for a long time.
                return Err(Violation::NotHttp);
            }
            let Some(line) = self.line.next(bytes, limit)? else { return Ok(Read::Partial) };
            match self.minor {
                // An empty line before a request is none of it (RFC 9112, section 2.2).
                None if line.is_empty() => {}
                None => self.minor = Some(request_line(line)?),
                Some(minor) if line.is_empty() => {
                    let body = self.body(minor)?;
                    return Ok(Read::Complete { length: self.line.end(), body });
                }
                Some(minor) => self.field(line, minor)?,
            }
        }
    }

    fn field(&mut self, line: &[u8], minor: u8) -> Result<(), Violation> {
        let (name, value) = field(line)?;
        self.fields += 1;
        if self.fields > MAX_HEADERS {
            return Err(Violation::TooManyHeaders);
        }
        // The length tells most names apart.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host {
                    return Err(Violation::TwoHosts);
                }
                if !is_host(value) {
                    return Err(Violation::Host);
                }
                self.host = true;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Violation::TwoLengths);
                }
                self.length = Some(length(value).ok_or(Violation::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if minor == 0 {
                    return Err(Violation::EncodingIn10);
                }
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Violation::Encoding);
                }
                self.chunked = true;
            }
            // RFC 9110, section 7.8: an offer may be ignored. Java's client offers HTTP/2 with every request.
            7 if name.eq_ignore_ascii_case(b"upgrade") && !value.eq_ignore_ascii_case(b"h2c") => {
                return Err(Violation::Upgrade);
            }
            _ => {}
        }
        Ok(())
    }

    fn body(&self, minor: u8) -> Result<Body, Violation> {
        if !self.host && minor == 1 {
            return Err(Violation::NoHost);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Violation::LengthAndEncoding),
            (None, true) => Ok(Body::Chunked),
            (None | Some(0), false) => Ok(Body::None),
            (Some(length), false) => Ok(Body::Length(length)),
        }
    }
}

/// Lines of something that began with the first byte shown, without looking at a byte twice.
#[derive(Debug, Default)]
pub struct Line {
    /// Where the line begins that is read next.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
}

impl Line {
    /// The next line without its CR LF, if all of it is there.
    pub fn next<'b>(&mut self, bytes: &'b [u8], limit: usize) -> Result<Option<&'b [u8]>, Violation> {
        let unsearched = bytes.get(self.searched..).unwrap_or_default();
        let found = memchr::memchr(b'\n', unsearched).map(|at| self.searched + at);
        // The limit comes first, so that the answer is the same whether the line is complete or not.
        if found.map_or(bytes.len(), |at| at + 1) > limit {
            return Err(Violation::HeadTooLarge);
        }
        let Some(lf) = found else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let line = bytes.get(self.start..lf).unwrap_or_default();
        (self.start, self.searched) = (lf + 1, lf + 1);
        line.strip_suffix(b"\r").map(Some).ok_or(Violation::BareLf)
    }

    /// Where the last line ended, its CR LF included.
    pub fn end(&self) -> usize {
        self.start
    }

    /// What follows the last line.
    pub fn rest<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.start..).unwrap_or_default()
    }
}

/// A header line's name, and its value without the white space around it.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if let Some(b' ' | b'\t') = line.first() {
        return Err(Violation::Folded);
    }
    let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(Violation::NoColon)?;
    let (name, rest) = line.split_at_checked(colon).unwrap_or_default();
    match rest {
        [b':', value @ ..] if !name.is_empty() => value_bytes(value).map(|()| (name, value.trim_ascii())),
        [b':', ..] => Err(Violation::EmptyName),
        [b' ' | b'\t', after @ ..] if after.trim_ascii_start().first() == Some(&b':') => {
            Err(Violation::SpaceBeforeColon)
        }
        [b'\r', ..] => Err(Violation::BareCr),
        rest if memchr::memchr(b':', rest).is_none() => Err(Violation::NoColon),
        _ => Err(Violation::Name),
    }
}

/// The minor version of HTTP/1.
fn request_line(line: &[u8]) -> Result<u8, Violation> {
    if memchr::memchr(b'\r', line).is_some() {
        return Err(Violation::BareCr);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Violation::RequestLine);
    };
    if method.is_empty() || target.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Violation::RequestLine);
    }
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', b'2', ..] => return Err(Violation::Http2),
        _ => return Err(Violation::Version),
    };
    match (method, target) {
        (b"CONNECT", _) => Err(Violation::Connect),
        (b"TRACE", _) => Err(Violation::Trace),
        (b"OPTIONS", b"*") => Ok(minor),
        (_, [b'/', ..]) if target.len() > TARGET_LIMIT => Err(Violation::TargetTooLong),
        (_, [b'/', ..]) if target.iter().all(|byte| is_target(*byte)) => Ok(minor),
        (_, [b'/', ..]) => Err(Violation::TargetByte),
        _ => Err(Violation::Target),
    }
}

fn value_bytes(value: &[u8]) -> Result<(), Violation> {
    let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    // Looks at every byte, so that several are looked at at once.
    if !value.iter().fold(false, |found, byte| found | control(byte)) {
        return Ok(());
    }
    let first = value.iter().find(|byte| control(byte));
    Err(if first == Some(&b'\r') { Violation::BareCr } else { Violation::ControlByte })
}

/// One decimal number below 2^63. No sign, no list, no white space inside.
fn length(value: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(*byte - b'0'));
    let number = value.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(10)?.checked_add(digit(byte)?))?;
    (!value.is_empty() && number <= i64::MAX as u64).then_some(number)
}

/// A name, an IPv4 address or an IPv6 address in brackets, then perhaps a port. Stricter than RFC 3986, which allows
/// a comma or a quote in a name.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, after) = rest.split_at_checked(end).unwrap_or_default();
            if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                return false;
            }
            (address, after.get(1..).unwrap_or_default())
        }
        _ => {
            let end = memchr::memchr(b':', value).unwrap_or(value.len());
            let (name, after) = value.split_at_checked(end).unwrap_or_default();
            let allowed =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
            if !name.iter().all(allowed) {
                return false;
            }
            (name, after)
        }
    };
    let port_is_sound = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && port_is_sound
}

/// What a method can begin with, or an empty line before it.
fn begins_a_request(byte: u8) -> bool {
    is_token(byte) || byte == b'\r' || byte == b'\n'
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'-' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'!' | b'#'..=b'\'' | b'*')
        || matches!(byte, b'+' | b'^' | b'`' | b'|' | b'~')
}

/// Visible ASCII without those that a URL must encode. Everything allowed here is also read by hyper.
const fn is_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`')
}
