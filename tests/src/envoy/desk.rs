//! The ledger inside an Envoy, read and written where it lies: in the shared data of the plugin's VM.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use tollgate_ledger::sheet::{self, Turned};
use tollgate_ledger::{Charge, Claim, Entry, Hold, Reservation};

use crate::books;
use crate::outcome::Cell;
use crate::vector::Vector;
use crate::wire::Wire;

/// The desk of one Envoy, and the names of the values that it may hold.
pub struct Desk {
    address: SocketAddr,
    written: Vec<String>,
}

impl Desk {
    /// At this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, written: Vec::new() }
    }

    /// The same, to read the ledger of an organisation.
    pub fn reading(address: SocketAddr, organisation: &str) -> Self {
        Self { address, written: vec![format!("sheet/{organisation}")] }
    }

    /// Lays out what a vector says was before, for its organisations and upstreams, and nothing else.
    pub fn lay_out(&mut self, vector: &Vector, organisations: &[String], upstreams: &[String]) {
        for name in std::mem::take(&mut self.written) {
            self.write(&name, b"");
        }
        let mut sheets: BTreeMap<String, Vec<u8>> =
            organisations.iter().map(|organisation| (organisation.clone(), Vec::new())).collect();
        for (index, prior) in vector.ledger.iter().enumerate() {
            let organisation = organisation_of(&prior.cell);
            let sheet = sheets.entry(organisation.to_owned()).or_default();
            let at = vector.now.ms - prior.ago_ms;
            for (kind, amount) in [("settled", prior.settled), ("held", prior.held)] {
                let claim = Claim { cell: prior.cell.clone(), rule: books::rule(prior.rule()), amount };
                let request_id = format!("{kind}-{index}");
                let entry =
                    Arc::new(Entry { request_id, at_ms: at, key: organisation.into(), ..Entry::default() });
                let hold = Hold { entry: &entry, claims: &[claim], lease_ms: books::LEASE_MS };
                let granted = turned(sheet, |sheet| sheet::reserve(sheet, hold, at));
                assert!(matches!(granted, Reservation::Granted { .. }), "{prior:?} was not granted");
                if kind == "settled" {
                    turned(sheet, |sheet| sheet::settle(sheet, &entry, Charge::Held, at));
                }
            }
        }
        for (organisation, sheet) in sheets {
            let name = format!("sheet/{organisation}");
            self.write(&name, &sheet);
            self.written.push(name);
        }
        for upstream in upstreams {
            let name = format!("breaker/{upstream}");
            let left_ms = vector.tripped.get(upstream);
            let state = left_ms.map(|left_ms| format!("open 1 {}", vector.now.ms + left_ms));
            self.write(&name, state.unwrap_or_default().as_bytes());
            self.written.push(name);
        }
    }

    /// What every cell holds that holds anything.
    pub fn cells(&self, now_ms: u64) -> BTreeMap<String, Cell> {
        let sheets = self.written.iter().filter(|name| name.starts_with("sheet/"));
        let snapshots = sheets.map(|name| sheet::snapshot(&self.read(name), now_ms).unwrap());
        let cells = snapshots.flat_map(|snapshot| snapshot.cells).filter(|cell| cell.used > 0);
        cells.map(|cell| (cell.name, Cell { settled: cell.used - cell.held, held: cell.held })).collect()
    }

    /// The value of this name.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.ask(&format!("GET /{name} HTTP/1.1\r\nhost: desk\r\n\r\n"), b"")
    }

    fn write(&self, name: &str, value: &[u8]) {
        let head = format!("PUT /{name} HTTP/1.1\r\nhost: desk\r\ncontent-length: {}\r\n\r\n", value.len());
        self.ask(&head, value);
    }

    fn ask(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut wire = Wire::new(TcpStream::connect(self.address).unwrap());
        wire.stream().write_all(&[head.as_bytes(), body].concat()).unwrap();
        let answer = wire.response().unwrap();
        assert_eq!(answer.status(), 200, "{head}");
        answer.body
    }
}

/// The organisation whose cell it is: `requests:acme/ml` is acme's.
fn organisation_of(cell: &str) -> &str {
    let path = cell.split(':').nth(1).unwrap();
    path.split('/').next().unwrap()
}

fn turned<T>(sheet: &mut Vec<u8>, turn: impl FnOnce(&[u8]) -> Result<Turned<T>, sheet::NotASheet>) -> T {
    let Turned { answer, sheet: next, .. } = turn(sheet).unwrap();
    if let Some(next) = next {
        *sheet = next;
    }
    answer
}
