//! Every vector, by the policy crate and by its component; see `vectors/README.md`.

use std::collections::BTreeSet;

use tollgate_tests::component::Components;
use tollgate_tests::driver::{self, Walked};
use tollgate_tests::vector::{self, Runtime};

/// With `BLESS=1` the outcomes are written first.
#[test]
fn native_agrees() {
    if std::env::var_os("BLESS").is_some() {
        driver::bless();
    }
    driver::agree(&Walked::native());
}

#[test]
fn native_agrees_with_a_fresh_instance_before_each_call() {
    driver::agree(&Walked::native().fresh());
}

#[test]
fn component_agrees() {
    driver::agree(&Walked::new(Runtime::Component, Components::embedded()));
}

#[test]
fn component_agrees_with_a_fresh_instance_before_each_call() {
    driver::agree(&Walked::new(Runtime::Component, Components::embedded().fresh()));
}

#[test]
fn there_are_vectors_and_every_shared_configuration_is_used() {
    let vectors = vector::all();
    assert!(vectors.len() >= 40, "{} vectors are few", vectors.len());
    let used: BTreeSet<&str> = vectors.iter().filter_map(|vector| vector.config.shared()).collect();
    for file in std::fs::read_dir(vector::folder().join("configs")).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(used.contains(&*name), "configs/{name}.toml: no vector uses it");
    }
}
