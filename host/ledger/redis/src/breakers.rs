//! Breakers that all gateways share. While Redis is down each gateway goes by breakers of its own: an upstream that
//! fails is still left alone, only one gateway at a time learns it.

use tollgate_ledger::breaker::{BreakerRule, Health, Passage};
use tollgate_ledger::{Breakers, Pending};

use crate::Redis;
use crate::link::Failure;

impl Breakers for Redis {
    fn ask<'a>(&'a self, name: &'a str, rule: BreakerRule, now: u64) -> Pending<'a, Passage> {
        let inner = &*self.inner;
        Box::pin(async move {
            match inner.link.ask(inner.calls(now).ask(name, rule)).await {
                Err(Failure::Down(_)) => Ok(inner.board.ask(name, rule, now)),
                answer => Ok(answer?),
            }
        })
    }

    fn tell<'a>(
        &'a self,
        name: &'a str,
        rule: BreakerRule,
        generation: u64,
        health: Health,
        now: u64,
    ) -> Pending<'a, ()> {
        let inner = &*self.inner;
        Box::pin(async move {
            let told = inner.link.ask(inner.calls(now).tell((name, rule), (generation, health)));
            match told.await {
                Err(Failure::Down(_)) => {
                    inner.board.tell(name, rule, generation, health, now);
                    Ok(())
                }
                answer => Ok(answer?),
            }
        })
    }
}
