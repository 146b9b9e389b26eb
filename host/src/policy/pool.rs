//! Warm instances of one loaded policy, and the limits each of them lives under.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tollgate_document::Problem;
use wasmtime::component::ResourceAny;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use super::bindings::Gate;
use super::engine::{Component, Engine};
use super::wit;

/// How long one call may take. Real calls take microseconds; this is for policies that never answer.
const CALL_DEADLINE: Duration = Duration::from_millis(50);
/// How long reading a configuration may take.
const LOAD_DEADLINE: Duration = Duration::from_secs(2);
/// The part of a deadline that a call must have had the processor for, to be cut when the deadline passes a second
/// time. On a machine with too much to do a call can be late without having run at all.
const BUSY_PART: u32 = 4;
/// The most linear memory an instance may have, in bytes: room for a body at the limit and its parse.
const MEMORY_LIMIT: usize = 256 << 20;
/// An instance that grew beyond this, in bytes, is not kept: one large body must not be paid for ever after.
const MEMORY_KEPT: usize = 8 << 20;
/// The most bytes one call may bring out of the guest.
const RESULT_LIMIT: usize = 64 << 20;
/// The most entries of a table.
const TABLE_LIMIT: usize = 20_000;

/// A call into the policy that gave no answer: it trapped, ran past its deadline or asked for too much.
/// The instance is gone.
#[derive(Debug)]
pub struct Broken(wasmtime::Error);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Broken {}

impl Broken {
    pub(crate) fn new(what: &'static str) -> Self {
        Self(wasmtime::Error::msg(what))
    }
}

impl From<wasmtime::Error> for Broken {
    fn from(error: wasmtime::Error) -> Self {
        Self(error)
    }
}

/// What a policy is loaded with, kept to make further instances.
struct Settings {
    config: String,
    shell_tables: Vec<String>,
    upstreams: Vec<String>,
    catalogue: Option<String>,
}

/// A component loaded with one configuration. Immutable; a reload makes another.
pub struct Policy {
    component: Component,
    settings: Settings,
    headers: Headers,
    wants_latencies: bool,
    notes: Vec<Problem>,
    #[expect(clippy::vec_box, reason = "an instance is large, and comes and goes with every call")]
    idle: Mutex<Vec<Box<Instance>>>,
}

/// What a policy tells when it is loaded, beside that it is.
struct Wishes {
    headers: Headers,
    wants_latencies: bool,
    notes: Vec<Problem>,
}

/// The header names a policy said when it was loaded; see record `loaded`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Request headers that `identify` reads.
    pub request: Vec<String>,
    /// Request headers sent upstream as they are.
    pub forward: Vec<String>,
    /// Answer headers that `judge` reads.
    pub answer: Vec<String>,
    /// Answer headers sent to the client as they are.
    pub relay: Vec<String>,
    /// Headers the policy makes itself.
    pub own: Vec<String>,
}

/// Why there is no policy.
#[derive(Debug)]
pub enum Refused {
    /// The configuration has problems; all of them.
    Problems(Vec<Problem>),
    /// The component gave no answer.
    Broken(Broken),
}

impl Policy {
    /// Loads a configuration into the component.
    ///
    /// # Errors
    /// Every problem of the configuration, or the trap of a component that cannot read it.
    pub fn load(
        component: Component,
        config: String,
        shell_tables: Vec<String>,
        upstreams: Vec<String>,
        catalogue: Option<String>,
    ) -> Result<Self, Refused> {
        let settings = Settings { config, shell_tables, upstreams, catalogue };
        let (instance, Wishes { headers, wants_latencies, notes }) = Instance::new(&component, &settings)?;
        let idle = Mutex::new(vec![Box::new(instance)]);
        Ok(Self { component, settings, headers, wants_latencies, notes, idle })
    }

    /// What an operator should know of although nothing is wrong with it; see record `loaded`.
    pub fn notes(&self) -> &[Problem] {
        &self.notes
    }

    /// The headers this policy deals with.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Whether it wants to know how long upstreams took lately; see record `loaded`.
    pub fn wants_latencies(&self) -> bool {
        self.wants_latencies
    }

    /// Runs one call on a warm instance, on this thread, to its end.
    ///
    /// # Errors
    /// [`Broken`] when the call gave no answer; the instance it ran on is dropped.
    pub fn call<T>(&self, call: impl FnOnce(&mut Instance) -> wasmtime::Result<T>) -> Result<T, Broken> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => Box::new(self.fresh()?),
        };
        instance.allow(CALL_DEADLINE);
        let answer = call(&mut instance)?;
        if instance.store.data().memory <= MEMORY_KEPT {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        }
        Ok(answer)
    }

    /// Runs one call on an instance that was never used before.
    ///
    /// # Errors
    /// [`Broken`] when the call gave no answer.
    pub fn call_fresh<T>(
        &self,
        call: impl FnOnce(&mut Instance) -> wasmtime::Result<T>,
    ) -> Result<T, Broken> {
        let mut instance = self.fresh()?;
        instance.allow(CALL_DEADLINE);
        Ok(call(&mut instance)?)
    }

    fn fresh(&self) -> Result<Instance, Broken> {
        match Instance::new(&self.component, &self.settings) {
            Ok((instance, ..)) => Ok(instance),
            Err(Refused::Broken(broken)) => Err(broken),
            Err(Refused::Problems(_)) => Err(Broken(wasmtime::Error::msg(
                "the policy now refuses the configuration it was loaded with",
            ))),
        }
    }
}

/// One instance of a policy with its configuration loaded: the functions of `wit/policy.wit`.
pub struct Instance {
    store: Store<State>,
    gate: Gate,
    gateway: ResourceAny,
}

impl Instance {
    fn new(component: &Component, settings: &Settings) -> Result<(Self, Wishes), Refused> {
        let (mut store, gate) = Self::instantiate(component).map_err(|e| Refused::Broken(Broken(e)))?;
        let shell_tables: Vec<&str> = settings.shell_tables.iter().map(String::as_str).collect();
        let upstreams: Vec<&str> = settings.upstreams.iter().map(String::as_str).collect();
        let loaded = gate
            .tollgate_policy_policy()
            .gateway()
            .call_load(
                &mut store,
                wit::Settings {
                    config: &settings.config,
                    shell_tables: &shell_tables,
                    upstreams: &upstreams,
                    catalogue: settings.catalogue.as_deref(),
                },
            )
            .map_err(|e| Refused::Broken(Broken(e)))?
            .map_err(|problems| Refused::Problems(problems.into_iter().map(problem).collect()))?;
        let headers = Headers {
            request: loaded.request_headers,
            forward: loaded.forward_headers,
            answer: loaded.answer_headers,
            relay: loaded.relay_headers,
            own: loaded.own_headers,
        };
        let notes = loaded.notes.into_iter().map(problem).collect();
        let wishes = Wishes { headers, wants_latencies: loaded.wants_latencies, notes };
        Ok((Self { store, gate, gateway: loaded.gateway }, wishes))
    }

    fn instantiate(component: &Component) -> wasmtime::Result<(Store<State>, Gate)> {
        let state = State { memory: 0, span: LOAD_DEADLINE, ran: None };
        let mut store = Store::new(component.engine.wasmtime(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(RESULT_LIMIT);
        store.set_epoch_deadline(Engine::epochs(LOAD_DEADLINE));
        store.epoch_deadline_callback(|mut store| store.data_mut().overdue());
        let gate = component.pre.instantiate(&mut store)?;
        Ok((store, gate))
    }
}

impl Instance {
    /// Begins to count the time of a call.
    fn allow(&mut self, span: Duration) {
        let state = self.store.data_mut();
        (state.span, state.ran) = (span, None);
        self.store.set_epoch_deadline(Engine::epochs(span));
    }
}

fn problem(problem: wit::Problem) -> Problem {
    Problem { at: problem.at, line: problem.line, message: problem.message }
}

/// What the store of an instance keeps beside the guest.
pub struct State {
    /// The most memory it was given, in bytes.
    memory: usize,
    /// The deadline of the call under way.
    span: Duration,
    /// The processor time of this thread when the deadline passed last.
    ran: Option<Duration>,
}

impl State {
    /// Says what becomes of a call whose deadline has passed: it goes on until the next one, unless it has been
    /// running since the one before.
    fn overdue(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let ran = processor_time();
        match self.ran.replace(ran) {
            Some(before) if ran.saturating_sub(before) >= self.span / BUSY_PART => {
                Err(wasmtime::Error::msg("the policy did not answer in time"))
            }
            _ => Ok(UpdateDeadline::Continue(Engine::epochs(self.span))),
        }
    }
}

/// How long this thread has had a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or(Duration::MAX)
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= MEMORY_LIMIT;
        if granted {
            self.memory = self.memory.max(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_LIMIT)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        4
    }
}

/// The functions of the interface. Each runs on the calling thread and needs no runtime.
impl Instance {
    /// See `gateway.identify`.
    pub fn identify(&mut self, head: wit::Head<'_>) -> wasmtime::Result<wit::Identity> {
        self.gate.tollgate_policy_policy().gateway().call_identify(&mut self.store, self.gateway, head)
    }

    /// See `gateway.callers`.
    pub fn callers(&mut self) -> wasmtime::Result<Vec<wit::PrincipalResult>> {
        self.gate.tollgate_policy_policy().gateway().call_callers(&mut self.store, self.gateway)
    }

    /// See `gateway.limits`.
    pub fn limits(
        &mut self,
        caller: wit::PrincipalParam<'_>,
        now: u64,
    ) -> wasmtime::Result<Result<Vec<wit::Limit>, Vec<wit::Problem>>> {
        self.gate.tollgate_policy_policy().gateway().call_limits(&mut self.store, self.gateway, caller, now)
    }

    /// See `gateway.admit`.
    pub fn admit(
        &mut self,
        ticket: &[u8],
        caller: Option<wit::PrincipalParam<'_>>,
        body: &[u8],
        around: wit::Surroundings<'_>,
    ) -> wasmtime::Result<wit::Admission> {
        self.gate.tollgate_policy_policy().gateway().call_admit(
            &mut self.store,
            self.gateway,
            ticket,
            caller,
            body,
            around,
        )
    }

    /// See `gateway.judge`.
    pub fn judge(&mut self, ticket: &[u8], attempt: wit::Attempt<'_>) -> wasmtime::Result<wit::Judgement> {
        self.gate.tollgate_policy_policy().gateway().call_judge(
            &mut self.store,
            self.gateway,
            ticket,
            attempt,
        )
    }

    /// See `gateway.feed`.
    pub fn feed(&mut self, ticket: &[u8], piece: wit::Piece<'_>) -> wasmtime::Result<wit::Fed> {
        self.gate.tollgate_policy_policy().gateway().call_feed(&mut self.store, self.gateway, ticket, piece)
    }

    /// See `gateway.settle`.
    pub fn settle(&mut self, ticket: &[u8], ending: wit::Ending) -> wasmtime::Result<wit::Settlement> {
        self.gate.tollgate_policy_policy().gateway().call_settle(
            &mut self.store,
            self.gateway,
            ticket,
            ending,
        )
    }

    /// See `gateway.refuse`.
    pub fn refuse(
        &mut self,
        ticket: Option<&[u8]>,
        failure: wit::Failure<'_>,
    ) -> wasmtime::Result<wit::Reply> {
        self.gate.tollgate_policy_policy().gateway().call_refuse(
            &mut self.store,
            self.gateway,
            ticket,
            failure,
        )
    }
}
