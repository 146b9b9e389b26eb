//! A policy as the reference walk sees it, whatever runs it.
//!
//! [`Policy`] is the interface of `wit/policy.wit` in plain Rust; [`Load`] makes one from a configuration. The crate
//! is one implementation ([`Native`]), the component another (in `component.rs`), and [`Fresh`] makes of either
//! one whose instance never sees two calls.

use std::rc::Rc;

use tollgate_policy::Gateway;
use tollgate_policy::message::{
    Admission, Attempt, Ending, Failure, Fed, Head, Identity, Judgement, LimitOf, Piece, Principal, Problem,
    Reply, Settings, Settlement, Surroundings,
};

/// The policy gave no answer: it trapped. Never expected of ours.
#[derive(Debug)]
pub struct Trap(pub String);

/// Makes a policy from a configuration.
pub trait Load {
    /// Loads it, or tells every problem.
    fn load(&self, settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>>;
}

/// A loaded policy and the headers it deals with: record `loaded`.
pub struct Loaded {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// The headers it deals with.
    pub headers: Headers,
    /// Whether `admit` reads latencies.
    pub wants_latencies: bool,
    /// What an operator should know of.
    pub notes: Vec<Problem>,
}

/// The headers a policy deals with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Those `identify` reads.
    pub request: Vec<String>,
    /// Those sent upstream.
    pub forward: Vec<String>,
    /// Those `judge` reads.
    pub answer: Vec<String>,
    /// Those of an answer sent to the client.
    pub relay: Vec<String>,
}

/// Resource `gateway`.
pub trait Policy {
    /// See the WIT.
    fn identify(&mut self, head: &Head) -> Result<Identity, Trap>;
    /// See the WIT.
    fn admit(
        &mut self,
        ticket: &[u8],
        caller: Option<&Principal>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Trap>;
    /// See the WIT.
    fn judge(&mut self, ticket: &[u8], attempt: &Attempt) -> Result<Judgement, Trap>;
    /// See the WIT.
    fn feed(&mut self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, Trap>;
    /// See the WIT.
    fn settle(&mut self, ticket: &[u8], ending: Ending) -> Result<Settlement, Trap>;
    /// See the WIT.
    fn refuse(&mut self, ticket: Option<&[u8]>, failure: &Failure) -> Result<Reply, Trap>;
    /// See the WIT.
    fn callers(&mut self) -> Result<Vec<Principal>, Trap>;
    /// See the WIT.
    fn limits(&mut self, caller: &Principal, now: u64) -> Result<Limits, Trap>;
}

/// What `limits` answers.
pub type Limits = Result<Vec<LimitOf>, Vec<Problem>>;

/// The policy crate, linked.
pub struct Native;

impl Load for Native {
    fn load(&self, settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>> {
        let loaded = Gateway::load(settings)?;
        let headers = Headers {
            request: loaded.request_headers,
            forward: owned(loaded.forward_headers),
            answer: owned(loaded.answer_headers),
            relay: owned(loaded.relay_headers),
        };
        let (wants_latencies, notes) = (loaded.wants_latencies, loaded.notes);
        Ok(Loaded { policy: Box::new(loaded.gateway), headers, wants_latencies, notes })
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn trap(error: impl std::fmt::Debug) -> Trap {
    Trap(format!("{error:?}"))
}

impl Policy for Gateway {
    fn identify(&mut self, head: &Head) -> Result<Identity, Trap> {
        Ok(Gateway::identify(self, head))
    }

    fn admit(
        &mut self,
        ticket: &[u8],
        caller: Option<&Principal>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Trap> {
        Gateway::admit(self, ticket, caller, body, around).map_err(trap)
    }

    fn judge(&mut self, ticket: &[u8], attempt: &Attempt) -> Result<Judgement, Trap> {
        Gateway::judge(self, ticket, attempt).map_err(trap)
    }

    fn feed(&mut self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, Trap> {
        Gateway::feed(self, ticket, piece).map_err(trap)
    }

    fn settle(&mut self, ticket: &[u8], ending: Ending) -> Result<Settlement, Trap> {
        Gateway::settle(self, ticket, ending).map_err(trap)
    }

    fn refuse(&mut self, ticket: Option<&[u8]>, failure: &Failure) -> Result<Reply, Trap> {
        Gateway::refuse(self, ticket, failure).map_err(trap)
    }

    fn callers(&mut self) -> Result<Vec<Principal>, Trap> {
        Ok(Gateway::callers(self))
    }

    fn limits(&mut self, caller: &Principal, now: u64) -> Result<Limits, Trap> {
        Ok(Gateway::limits(self, caller, now))
    }
}

/// A fresh instance before each call.
pub struct Fresh<L>(pub Rc<L>);

impl<L: Load + 'static> Load for Fresh<L> {
    fn load(&self, settings: &Settings<'_>) -> Result<Loaded, Vec<Problem>> {
        let loaded = self.0.load(settings)?;
        let policy = Forgetful {
            load: Rc::clone(&self.0),
            config: settings.config.to_owned(),
            shell_tables: settings.shell_tables.clone(),
            upstreams: settings.upstreams.clone(),
            catalogue: settings.catalogue.map(str::to_owned),
        };
        Ok(Loaded { policy: Box::new(policy), ..loaded })
    }
}

struct Forgetful<L> {
    load: Rc<L>,
    config: String,
    shell_tables: Vec<String>,
    upstreams: Vec<String>,
    catalogue: Option<String>,
}

impl<L: Load> Forgetful<L> {
    fn fresh(&self) -> Box<dyn Policy> {
        let settings = Settings {
            config: &self.config,
            shell_tables: self.shell_tables.clone(),
            upstreams: self.upstreams.clone(),
            catalogue: self.catalogue.as_deref(),
        };
        self.load.load(&settings).expect("what was sound once is sound again").policy
    }
}

impl<L: Load> Policy for Forgetful<L> {
    fn identify(&mut self, head: &Head) -> Result<Identity, Trap> {
        self.fresh().identify(head)
    }

    fn admit(
        &mut self,
        ticket: &[u8],
        caller: Option<&Principal>,
        body: &[u8],
        around: &Surroundings,
    ) -> Result<Admission, Trap> {
        self.fresh().admit(ticket, caller, body, around)
    }

    fn judge(&mut self, ticket: &[u8], attempt: &Attempt) -> Result<Judgement, Trap> {
        self.fresh().judge(ticket, attempt)
    }

    fn feed(&mut self, ticket: &[u8], piece: Piece<'_>) -> Result<Fed, Trap> {
        self.fresh().feed(ticket, piece)
    }

    fn settle(&mut self, ticket: &[u8], ending: Ending) -> Result<Settlement, Trap> {
        self.fresh().settle(ticket, ending)
    }

    fn refuse(&mut self, ticket: Option<&[u8]>, failure: &Failure) -> Result<Reply, Trap> {
        self.fresh().refuse(ticket, failure)
    }

    fn callers(&mut self) -> Result<Vec<Principal>, Trap> {
        self.fresh().callers()
    }

    fn limits(&mut self, caller: &Principal, now: u64) -> Result<Limits, Trap> {
        self.fresh().limits(caller, now)
    }
}
