//! Every vector, by the component that needs nothing but WASI; see `vectors/README.md`.

use tollgate_tests::driver;
use tollgate_tests::spin::EXCEPTIONS;
use tollgate_tests::spin::portable::Portable;

#[test]
fn the_portable_component_agrees() {
    let is_one = |name: &str| EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
    let vectors: Vec<_> = driver::selected().into_iter().filter(|vector| !is_one(&vector.name)).collect();
    driver::agree_on(&Portable::new(), &vectors);
}
