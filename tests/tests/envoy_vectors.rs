//! Every vector, by the plugin in a real Envoy; see `vectors/README.md`.

use tollgate_tests::driver;
use tollgate_tests::envoy::Envoy;

#[test]
fn envoy_agrees() {
    driver::agree(&Envoy::new());
}
