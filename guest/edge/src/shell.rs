//! What all exchanges of an instance share. An instance may be dropped between any two of them: nothing here is worth
//! more than the time it takes to make it again.

use std::cell::Cell;
use std::rc::Rc;

use crate::draft::Draft;
use crate::generation::{Generation, NotLoaded};
use crate::load::Load;
use crate::platform::{Clock as _, Ledger as _, Platform};

/// How often holds are looked for whose lease has passed, in milliseconds.
const EXPIRE_EVERY_MS: u64 = 1_000;

/// A loaded configuration, and the platform that carries its exchanges.
pub struct Shell<P: Platform> {
    pub(crate) client: P::Client,
    pub(crate) ledger: P::Ledger,
    pub(crate) clock: P::Clock,
    pub(crate) generation: Generation,
    pub(crate) load: Load,
    /// Random bits of this instance, and how many exchanges it has begun: no other instance makes the same ids.
    instance: u64,
    begun: Cell<u32>,
    expired_ms: Cell<u64>,
}

impl<P: Platform> Shell<P> {
    /// Checks all of a configuration, so that every problem is found at once, and loads it. `catalogue` is the text of
    /// the price list it names; `variables` looks up what [`Draft::variables`] lists.
    ///
    /// # Errors
    /// Every problem of the configuration, or that the policy cannot be used.
    pub fn load(
        draft: Draft,
        catalogue: Option<&str>,
        variables: &dyn Fn(&str) -> Option<String>,
        (client, clock): (P::Client, P::Clock),
    ) -> Result<Rc<Self>, NotLoaded> {
        let (generation, ledger) = Generation::load::<P>(draft, catalogue, variables)?;
        let instance = clock.random();
        Ok(Rc::new(Self {
            client,
            ledger,
            generation,
            load: Load::default(),
            instance,
            begun: Cell::new(0),
            expired_ms: Cell::new(0),
            clock,
        }))
    }

    /// What an operator should know of the configuration although nothing is wrong with it.
    pub fn notes(&self) -> &[tollgate_document::Problem] {
        &self.generation.notes
    }

    pub(crate) fn request_id(&self) -> String {
        let number = self.begun.get();
        self.begun.set(number.wrapping_add(1));
        format!("req_{:016x}{number:08x}", self.instance)
    }

    /// Looks for holds whose lease has passed, if nobody here has done so lately. For after an answer: nobody waits.
    pub(crate) fn tend(&self) {
        let now = self.clock.now_ms();
        if now.abs_diff(self.expired_ms.get()) >= EXPIRE_EVERY_MS {
            self.expired_ms.set(now);
            self.ledger.expire(now);
        }
    }
}
