//! Every vector, by a live server; see `vectors/README.md`.

use tollgate_tests::driver;
use tollgate_tests::live::Host;

#[test]
fn host_agrees() {
    driver::agree(&Host::new());
}
