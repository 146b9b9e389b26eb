//! Running vectors: what a driver is, how its outcome is compared, and who may write one.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::outcome::Outcome;
use crate::policy::{Fresh, Load, Native};
use crate::vector::{self, Runtime, Vector};
use crate::walk;

/// Something that runs vectors.
pub trait Driver {
    /// Which vectors it runs.
    fn runtime(&self) -> Runtime;
    /// Runs one and tells what it saw. Panics where what it saw cannot even be told.
    fn run(&self, vector: &Vector) -> Outcome;
    /// Whether this runtime has what the vector is about.
    fn has(&self, _: &Vector) -> bool {
        true
    }
    /// Takes out of both outcomes what this runtime is known to do otherwise.
    fn normalise(&self, _expected: &mut Outcome, _found: &mut Outcome) {}
}

/// The reference walk, with whatever makes policies.
pub struct Walked<L> {
    runtime: Runtime,
    load: L,
}

impl Walked<Native> {
    /// The policy crate.
    pub fn native() -> Self {
        Self { runtime: Runtime::Native, load: Native }
    }
}

impl<L: Load + 'static> Walked<L> {
    /// Another policy in the same walk.
    pub fn new(runtime: Runtime, load: L) -> Self {
        Self { runtime, load }
    }

    /// The same, with a fresh instance before each call.
    pub fn fresh(self) -> Walked<Fresh<L>> {
        Walked { runtime: self.runtime, load: Fresh(Rc::new(self.load)) }
    }
}

impl<L: Load> Driver for Walked<L> {
    fn runtime(&self) -> Runtime {
        self.runtime
    }

    fn run(&self, vector: &Vector) -> Outcome {
        walk::run(vector, &self.load)
    }
}

/// Runs every vector that names this driver and fails with all that differ.
pub fn agree(driver: &dyn Driver) {
    agree_on(driver, &selected());
}

/// The vectors to run: all, or those whose name contains `ONLY`.
pub fn selected() -> Vec<Vector> {
    let only = std::env::var("ONLY").unwrap_or_default();
    vector::all().into_iter().filter(|vector| vector.name.contains(&only)).collect()
}

/// Runs these vectors and fails with all that differ.
pub fn agree_on(driver: &dyn Driver, vectors: &[Vector]) {
    let mine: Vec<&Vector> =
        vectors.iter().filter(|v| v.drivers.contains(&driver.runtime()) && driver.has(v)).collect();
    let failures: Vec<String> = mine.iter().filter_map(|vector| difference(driver, vector)).collect();
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {} vectors differ\n\n{}", mine.len(), failures.join("\n\n"));
}

fn difference(driver: &dyn Driver, vector: &Vector) -> Option<String> {
    let outcome = match observe(driver, vector) {
        Ok(outcome) => outcome,
        Err(panic) => return Some(format!("{}: {panic}", vector.name)),
    };
    let Some(expected) = vector.expect.clone() else {
        return Some(format!("{}: has no expectation; BLESS=1 writes it", vector.name));
    };
    let (mut expected, mut outcome) = (expected.resolve(vector), outcome);
    driver.normalise(&mut expected, &mut outcome);
    (outcome != expected).then(|| {
        let (expected, outcome) = (expected.write(vector), outcome.write(vector));
        format!("{}\n{}", vector.name, side_by_side(&expected, &outcome))
    })
}

fn observe(driver: &dyn Driver, vector: &Vector) -> Result<Outcome, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| driver.run(vector))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })?;
    never_echoes_the_key(vector, &outcome).map(|()| outcome)
}

/// Whatever happens, the key a client presented is in nothing that it gets back.
fn never_echoes_the_key(vector: &Vector, outcome: &Outcome) -> Result<(), String> {
    let (Some(request), Some(client)) = (&vector.request, &outcome.client) else { return Ok(()) };
    let everything = format!("{:?} {}", client.headers, String::from_utf8_lossy(&client.body));
    let words = request.headers.iter().chain([&request.path]).flat_map(|text| text.split([' ', ',', '=']));
    match words.filter(|word| word.starts_with("tg_")).find(|key| everything.contains(key)) {
        Some(key) => Err(format!("the reply contains the key {key}")),
        None => Ok(()),
    }
}

/// The lines that only one side has, each with its sign.
fn side_by_side(expected: &str, found: &str) -> String {
    let (left, right): (BTreeSet<&str>, BTreeSet<&str>) =
        (expected.lines().collect(), found.lines().collect());
    let missing = expected.lines().filter(|line| !right.contains(line)).map(|line| format!("  - {line}"));
    let surplus = found.lines().filter(|line| !left.contains(line)).map(|line| format!("  + {line}"));
    missing.chain(surplus).collect::<Vec<_>>().join("\n")
}

/// Writes what the policy crate does into every selected vector. For a person to read before it is committed.
pub fn bless() {
    let native = Walked::native();
    for vector in selected().iter().filter(|vector| vector.drivers.contains(&Runtime::Native)) {
        let outcome = match observe(&native, vector) {
            Ok(outcome) => outcome,
            Err(panic) => {
                eprintln!("not blessed: {}: {panic}", vector.name);
                continue;
            }
        };
        let file = vector::folder().join(format!("{}.json", vector.name));
        let text = fs::read_to_string(&file).unwrap();
        let kept = match text.split_once("\n  \"expect\":") {
            Some((kept, _)) => kept.trim_end().trim_end_matches(','),
            None => text.trim_end().strip_suffix('}').unwrap().trim_end(),
        };
        let blessed = format!("{kept},\n  \"expect\": {}\n}}\n", outcome.write(vector));
        serde_json::from_str::<Vector>(&blessed).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        fs::write(&file, blessed).unwrap();
    }
}
