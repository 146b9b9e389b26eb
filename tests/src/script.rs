//! What the provider still has to say.

use std::collections::{BTreeMap, VecDeque};

use crate::vector::{Answer, Ending};

/// The answers left, by upstream. Every answer of a vector must be asked for, and no other.
pub struct Script {
    left: BTreeMap<String, VecDeque<Answer>>,
    refused: BTreeMap<String, usize>,
}

impl Script {
    /// The script of a vector.
    pub fn new(provider: &BTreeMap<String, Vec<Answer>>) -> Self {
        let mut script = Self { left: BTreeMap::new(), refused: BTreeMap::new() };
        for (upstream, answers) in provider {
            if answers.iter().any(|answer| answer.ending == Ending::Refuse) {
                assert_eq!(answers.len(), 1, "{upstream}: who refuses connections answers nothing else");
                script.refused.insert(upstream.clone(), 0);
            }
            script.left.insert(upstream.clone(), answers.iter().cloned().collect());
        }
        script
    }

    /// The next answer of an upstream.
    pub fn next(&mut self, upstream: &str) -> Answer {
        let answers = self.left.get_mut(upstream);
        let Some(answer) = answers.and_then(VecDeque::pop_front) else {
            panic!("the upstream {upstream} was asked, and the vector has no answer for it");
        };
        if answer.ending == Ending::Refuse {
            self.left.entry(upstream.into()).or_default().push_front(answer.clone());
            *self.refused.entry(upstream.into()).or_default() += 1;
        }
        answer
    }

    /// The upstreams that were not asked for all of their answers.
    pub fn left(&self) -> Vec<&str> {
        let asked = |name: &String| self.refused.get(name).is_some_and(|&times| times > 0);
        let left = self.left.iter().filter(|(name, answers)| !answers.is_empty() && !asked(name));
        left.map(|(name, _)| name.as_str()).collect()
    }
}
