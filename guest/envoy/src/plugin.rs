//! One place in Envoy where the plugin stands: read its configuration, make a context for each request, look at the
//! leases every second, send what nobody waits for.
//!
//! A configuration with problems is refused with all of them in the log, and Envoy then lets nothing pass.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::attempt::Attempt;
use crate::door::Door;
use crate::gate::Gate;
use crate::{exchange, head, outbox};

/// The `root_id` of the plugin on the internal listener.
const TRIES: &str = "tries";

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The plugin with one configuration.
#[derive(Default)]
pub struct Plugin {
    /// None: it stands where tries pass, and knows what their exchanges know.
    gate: Option<Rc<Gate>>,
    is_for_tries: bool,
}

impl Context for Plugin {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        outbox::answered(token);
    }
}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        self.is_for_tries = head::property(&["plugin_root_id"]).is_some_and(|id| id == TRIES.as_bytes());
        if self.is_for_tries {
            return true;
        }
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match Gate::load(&configuration) {
            Ok(gate) => {
                for note in &gate.notes {
                    log(LogLevel::Warn, &format!("note: {}", in_one_line(note)));
                }
                self.gate = Some(Rc::new(gate));
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

    fn on_tick(&mut self) {
        if let Some(gate) = &self.gate {
            exchange::renew(head::now());
            gate.ledger.expire(head::now());
            outbox::flush();
        }
    }

    fn on_queue_ready(&mut self, bell: u32) {
        outbox::woken(bell);
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        if self.is_for_tries {
            return Some(Box::new(Attempt::default()));
        }
        Some(Box::new(Door::new(Rc::clone(self.gate.as_ref()?))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
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
