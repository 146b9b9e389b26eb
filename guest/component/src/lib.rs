//! The policy as a component: turns the interface's values into the crate's and back, and decides nothing.
//!
//! Values and bodies are moved, never copied. As the interface says, it traps on a ticket that the policy did not make and
//! on a header whose name was not said; it never does otherwise.
#![expect(unsafe_code, reason = "the exports that wit-bindgen writes read the canonical ABI's raw memory")]
#![expect(missing_docs, reason = "the interface's file documents what wit-bindgen writes")]

mod from_guest;
mod from_host;
mod memory;

use self::from_guest::all;
use exports::tollgate::policy::policy as wit;
use tollgate_policy as policy;

wit_bindgen::generate!({
    path: "../../wit",
    world: "gate",
});

struct Component;

export!(Component);

impl wit::Guest for Component {
    type Gateway = Gateway;
}

struct Gateway {
    policy: policy::Gateway,
    /// The names by which headers of a client and of an upstream are passed.
    request_headers: Vec<String>,
    answer_headers: &'static [&'static str],
}

impl wit::GuestGateway for Gateway {
    fn load(settings: wit::Settings) -> Result<wit::Loaded, Vec<wit::Problem>> {
        let wit::Settings { config, shell_tables, upstreams, catalogue } = settings;
        let catalogue = catalogue.as_deref();
        let settings = policy::Settings { config: &config, shell_tables, upstreams, catalogue };
        match memory::lasting(|| policy::Gateway::load(&settings).map(wit::Loaded::from)) {
            Ok(loaded) => Ok(loaded),
            Err(problems) => Err(all(problems)),
        }
    }

    fn identify(&self, head: wit::Head) -> wit::Identity {
        let wit::Head { method, path, headers } = head;
        let headers = from_host::headers(headers, &self.request_headers);
        self.policy.identify(&policy::Head { method, path, headers }).into()
    }

    fn admit(
        &self,
        ticket: Vec<u8>,
        caller: Option<wit::Principal>,
        body: Vec<u8>,
        surroundings: wit::Surroundings,
    ) -> wit::Admission {
        let caller = caller.map(Into::into);
        sound(self.policy.admit(&ticket, caller.as_ref(), &body, &surroundings.into())).into()
    }

    fn judge(&self, ticket: Vec<u8>, attempt: wit::Attempt) -> wit::Judgement {
        let attempt = from_host::attempt(attempt, self.answer_headers);
        sound(self.policy.judge(&ticket, &attempt)).into()
    }

    fn feed(&self, ticket: Vec<u8>, piece: wit::Piece) -> wit::Fed {
        let piece = match &piece {
            wit::Piece::Chunk(bytes) => policy::Piece::Chunk(bytes),
            wit::Piece::End => policy::Piece::End,
            wit::Piece::Broken(fault) => policy::Piece::Broken((*fault).into()),
            wit::Piece::Limited => policy::Piece::Limited,
        };
        sound(self.policy.feed(&ticket, piece)).into()
    }

    fn settle(&self, ticket: Vec<u8>, ending: wit::Ending) -> wit::Settlement {
        sound(self.policy.settle(&ticket, ending.into())).into()
    }

    fn refuse(&self, ticket: Option<Vec<u8>>, failure: wit::Failure) -> wit::Reply {
        sound(self.policy.refuse(ticket.as_deref(), &failure.into())).into()
    }

    fn callers(&self) -> Vec<wit::Principal> {
        all(self.policy.callers())
    }

    fn limits(&self, caller: wit::Principal, now: u64) -> Result<Vec<wit::Limit>, Vec<wit::Problem>> {
        match self.policy.limits(&caller.into(), now) {
            Ok(limits) => Ok(all(limits)),
            Err(problems) => Err(all(problems)),
        }
    }
}

/// Traps on a ticket that the policy did not make.
fn sound<T>(result: Result<T, policy::BadTicket>) -> T {
    match result {
        Ok(value) => value,
        Err(policy::BadTicket) => std::process::abort(),
    }
}
