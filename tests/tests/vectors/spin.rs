//! Every vector, by the component for Spin; see `vectors/README.md`.

use tollgate_tests::driver;
use tollgate_tests::spin::{EXCEPTIONS, Spin};
use tollgate_tests::vector;

#[test]
fn spin_agrees() {
    let is_one = |name: &str| EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
    let vectors: Vec<_> = driver::selected().into_iter().filter(|vector| !is_one(&vector.name)).collect();
    driver::agree_on(&Spin::new(), &vectors);
}

#[test]
fn every_exception_is_a_vector() {
    let names: Vec<String> = vector::all().into_iter().map(|vector| vector.name).collect();
    for (exception, reason) in EXCEPTIONS {
        assert!(names.iter().any(|name| name == exception), "{exception}: {reason}");
    }
}
