//! One place in Envoy where the plugin stands: read its configuration, make a context for each request, look at the
//! leases every second, send what nobody waits for.
//!
//! A configuration with problems is refused with all of them in the log, and Envoy then lets nothing pass.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::door::Door;
use crate::gate::Gate;
use crate::straight::{Inside, Straight};
use crate::tries::Attempt;
use crate::{head, outbox, under_way};

/// The `root_id` of the plugin on the internal listener.
const TRIES: &[u8] = b"tries";

/// The `root_id` of the plugin among the filters of an upstream's cluster, and of the internal listener's.
const UPSTREAM: &[u8] = b"upstream";
const INSIDE: &[u8] = b"inside";

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The plugin in one place. Where tries pass it has no configuration, and knows what their exchanges know.
#[derive(Default)]
pub enum Plugin {
    /// It is not configured.
    #[default]
    Nowhere,
    /// Where clients come in.
    Door(Rc<Gate>),
    /// On the internal listener.
    Tries,
    /// Among the filters of an upstream's cluster.
    Upstream,
    /// Among the filters of the internal listener's cluster.
    Inside,
}

impl Context for Plugin {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        outbox::answered(token);
    }
}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        match head::property(&["plugin_root_id"]).as_deref() {
            Some(TRIES) => *self = Self::Tries,
            Some(UPSTREAM) => *self = Self::Upstream,
            Some(INSIDE) => *self = Self::Inside,
            _ => return self.open(),
        }
        true
    }

    fn on_tick(&mut self) {
        if let Self::Door(gate) = self {
            under_way::renew(head::now());
            gate.ledger.expire(head::now());
            outbox::flush();
        }
    }

    fn on_queue_ready(&mut self, bell: u32) {
        outbox::woken(bell);
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        match self {
            Self::Nowhere => None,
            Self::Door(gate) => Some(Box::new(Door::new(Rc::clone(gate)))),
            Self::Tries => Some(Box::new(Attempt::default())),
            Self::Upstream => Some(Box::new(Straight::default())),
            Self::Inside => Some(Box::new(Inside::default())),
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Plugin {
    /// Reads the configuration of the door.
    fn open(&mut self) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match Gate::load(&configuration) {
            Ok(gate) => {
                for note in &gate.notes {
                    log(LogLevel::Warn, &format!("note: {}", in_one_line(note)));
                }
                *self = Self::Door(Rc::new(gate));
                outbox::listen();
                self.set_tick_period(TICK);
                true
            }
            Err(problems) => {
                for problem in &problems {
                    log(LogLevel::Error, &format!("problem: {}", in_one_line(problem)));
                }
                false
            }
        }
    }
}

/// Where and what: `models[0].price (line 7): what is wrong`.
fn in_one_line(problem: &tollgate_policy::Problem) -> String {
    let place = if problem.at.is_empty() { "the file" } else { &problem.at };
    match problem.line {
        Some(line) => format!("{place} (line {line}): {}", problem.message),
        None => format!("{place}: {}", problem.message),
    }
}

/// Writes a line into Envoy's log. Nothing is to be done where there is none.
pub fn log(level: LogLevel, line: &str) {
    let _ = hostcalls::log(level, line);
}
