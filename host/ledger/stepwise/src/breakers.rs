//! Breakers in a table. Nearly always one is closed and stays as it is: then nothing is written.

use tollgate_ledger::Unavailable;
use tollgate_ledger::breaker::Breaker;

use crate::Stepwise;
use crate::database::Database;
use crate::step::Step;

impl<D: Database> Stepwise<D> {
    /// Asks or tells a breaker, and keeps it if that changed it.
    pub(crate) fn breaker<T>(&self, name: &str, act: impl Fn(&mut Breaker) -> T) -> Result<T, Unavailable> {
        let unchanged = self.with(|step| {
            let before = read(step, name)?;
            let mut breaker = before;
            let answer = act(&mut breaker);
            Ok((breaker == before).then_some(answer))
        })?;
        if let Some(answer) = unchanged {
            return Ok(answer);
        }
        // One probe at a time: what was read before may have changed since.
        self.atomically(|step| {
            let mut breaker = read(step, name)?;
            let answer = act(&mut breaker);
            let keep = "REPLACE INTO breakers (name, state) VALUES (?1, ?2)";
            step.run(keep, &[name.into(), breaker.to_string().into()])?;
            Ok(answer)
        })
    }
}

fn read<D: Database>(step: &mut Step<'_, D>, name: &str) -> Result<Breaker, Unavailable> {
    let row = step.first("SELECT state FROM breakers WHERE name = ?1", &[name.into()])?;
    row.map_or(Ok(Breaker::default()), |row| row.parsed(0, |state| state.parse().ok()))
}
