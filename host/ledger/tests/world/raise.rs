//! A stream that holds more as it goes on.

use tollgate_ledger::{Claim, Hold, Ledger as _, Raise};

use super::{Event, LEASE, World, ready};

impl World {
    pub fn raise(&mut self, index: usize) {
        let (now, exchange) = (self.now, &self.exchanges[index]);
        if !self.lives(exchange) {
            return;
        }
        let is_over = exchange.charged.is_some() || exchange.until <= now;
        let (before, to) = (exchange.held, (exchange.held + exchange.whole / 4).min(exchange.whole));
        let (claims, row) = (exchange.claims_of(to), exchange.row_of(to));
        let hold = Hold { entry: &row, claims: &claims, lease_ms: LEASE };
        let mut answer = ready(self.store.raise(hold, now)).unwrap();
        if self.random.below(10) == 0 {
            // The answer was lost on the way.
            let again = ready(self.store.raise(hold, now)).unwrap();
            assert_eq!(answer, again, "seed {}: {}", self.seed, row.request_id);
            answer = again;
            self.see("repeated");
        }
        // settle once: what is settled or lost takes nothing more.
        assert_eq!(answer == Raise::Gone, is_over, "seed {} at {now}: {}", self.seed, row.request_id);
        match answer {
            Raise::Granted { .. } => {
                self.see("raised");
                let exchange = &mut self.exchanges[index];
                (exchange.held, exchange.until) = (to, now + LEASE);
                exchange.takes.push((now, to - before));
                let next = (to < exchange.whole).then_some(exchange.duration / 8);
                for claim in claims.iter().filter(|claim| claim.cell.starts_with("budget")) {
                    *self.spent.get_mut(&claim.cell).unwrap() += to - before;
                }
                self.check_grant(index);
                if let Some(time) = next {
                    self.after(time, Event::Raise { exchange: index });
                }
            }
            Raise::Limited { claim, .. } => {
                self.see("limited");
                let claim = Claim { amount: to - before, ..claims[claim].clone() };
                self.check_refusal(&claim);
                // The stream ends here; what was produced is within what is held.
                let exchange = &mut self.exchanges[index];
                exchange.real = exchange.real.min(before);
                self.end(index);
            }
            Raise::Gone => self.see("gone"),
        }
    }
}
