//! Heads of messages as Envoy has them, and what else it is asked for. Header values are bytes here: whether they are
//! text is not known before they are read.

use std::time::UNIX_EPOCH;

use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;
use tollgate_policy::{Fault, Header, Reply};

/// The answer's and the upstream request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// Without it Envoy finds no route.
pub const PROTO: &str = "x-forwarded-proto";

/// The fields of one message.
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Those of the message that is being looked at.
    pub fn of(map: MapType) -> Self {
        let mut fields = Vec::new();
        for (name, value) in hostcalls::get_map_bytes(map).unwrap_or_default() {
            if name == "authorization" {
                // Envoy writes a repeated one as a list. No credential has a comma in it.
                let each =
                    value.split(|byte| *byte == b',').map(|one| (name.clone(), one.trim_ascii().to_vec()));
                fields.extend(each);
            } else {
                fields.push((name, value));
            }
        }
        Self(fields)
    }

    /// The first value of this name, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(found, _)| found == name);
        value.and_then(|(_, value)| str::from_utf8(value).ok())
    }

    /// All of these names, in this order. What is not visible ASCII is left out.
    pub fn readable<S: AsRef<str>>(&self, names: &[S]) -> Vec<Header> {
        self.picked(names).filter_map(|(name, value)| header(name, value)).collect()
    }

    /// All of these names, in this order.
    ///
    /// # Errors
    /// The name of one that is not visible ASCII.
    pub fn strictly<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<Header>, String> {
        let read = |(name, value): (&str, &[u8])| header(name, value).ok_or_else(|| name.to_owned());
        self.picked(names).map(read).collect()
    }

    fn picked<'f, S: AsRef<str>>(&'f self, names: &'f [S]) -> impl Iterator<Item = (&'f str, &'f [u8])> {
        let fields = |name: &'f S| self.0.iter().filter(move |(found, _)| found == name.as_ref());
        names.iter().flat_map(fields).map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

fn header(name: &str, value: &[u8]) -> Option<Header> {
    let visible = |byte: &u8| *byte == b'\t' || (b' '..=b'~').contains(byte);
    if !value.iter().all(visible) {
        return None;
    }
    Some(Header { name: name.to_owned(), value: str::from_utf8(value).ok()?.to_owned() })
}

/// Replaces the whole head of a message.
pub fn replace(map: MapType, headers: &[(&str, &str)]) {
    let _ = hostcalls::set_map(map, headers.to_vec());
}

/// Answers the client with a reply of the policy's own making.
pub fn send(reply: &Reply, id: &str) {
    let mut headers: Vec<(&str, &str)> =
        reply.headers.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
    headers.push((REQUEST_ID, id));
    let _ = hostcalls::send_http_response(reply.status.into(), headers, Some(&reply.body));
}

/// Envoy's response flags, as bits.
pub fn flags() -> u64 {
    let flags = property(&["response", "flags"]);
    flags.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Why an upstream gave no answer, by Envoy's response flags.
pub fn fault() -> Fault {
    /// Request and stream timeouts: UT, SI, UMSDR, DT.
    const TIMEOUT: u64 = 0x4 | 0x1_0000 | 0x8_0000 | 0x40_0000;
    /// No connection: LH, UH, UF, UO, NR, NC, DF.
    const CONNECT: u64 = 0x1 | 0x2 | 0x20 | 0x80 | 0x100 | 0x100_0000 | 0x400_0000;
    /// What came was not HTTP: UPE.
    const MALFORMED: u64 = 0x80_0000;
    match flags() {
        flags if flags & TIMEOUT != 0 => Fault::Timeout,
        flags if flags & MALFORMED != 0 => Fault::Malformed,
        flags if flags & CONNECT != 0 => Fault::Connect,
        _ => Fault::Closed,
    }
}

/// A property of the request, its answer or the plugin. Envoy takes its time to find one.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// Milliseconds since the epoch.
pub fn now() -> u64 {
    let now = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    now.and_then(|now| u64::try_from(now.as_millis()).ok()).unwrap_or(0)
}
