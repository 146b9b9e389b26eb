//! Every vector, by the plugin in a real Envoy; see `vectors/README.md`.

use tollgate_tests::driver;
use tollgate_tests::envoy::{Envoy, lacks};
use tollgate_tests::vector::{self, Runtime};

#[test]
fn envoy_agrees() {
    driver::agree(&Envoy::new());
}

/// Whoever writes a vector that Envoy cannot run sees it here.
#[test]
fn few_vectors_are_about_what_envoy_lacks() {
    let all = vector::all();
    let mine: Vec<_> = all.iter().filter(|vector| vector.drivers.contains(&Runtime::Envoy)).collect();
    let left_out: Vec<&str> =
        mine.iter().filter(|vector| lacks(vector).is_some()).map(|vector| vector.name.as_str()).collect();
    assert!(left_out.len() * 20 <= mine.len(), "{} of {}: {left_out:?}", left_out.len(), mine.len());
}
