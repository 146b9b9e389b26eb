//! Every vector, by the component that needs nothing but WASI; see `vectors/README.md`.

use tollgate_tests::spin::portable::{self, Portable};
use tollgate_tests::{driver, spin, vector};

fn exceptions() -> impl Iterator<Item = (&'static str, &'static str)> {
    spin::EXCEPTIONS.into_iter().chain(portable::EXCEPTIONS)
}

#[test]
fn the_portable_component_agrees() {
    let is_one = |name: &str| exceptions().any(|(exception, _)| exception == name);
    let vectors: Vec<_> = driver::selected().into_iter().filter(|vector| !is_one(&vector.name)).collect();
    driver::agree_on(&Portable::new(), &vectors);
}

#[test]
fn every_exception_is_a_vector() {
    let names: Vec<String> = vector::all().into_iter().map(|vector| vector.name).collect();
    for (exception, reason) in exceptions() {
        assert!(names.iter().any(|name| name == exception), "{exception}: {reason}");
    }
}
