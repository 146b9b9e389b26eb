//! What an error of a connection is to the policy.

use std::error::Error as _;

use crate::policy::wit::Fault;

/// What lies between us and an answer.
pub(super) fn of(error: &hyper::Error) -> Fault {
    if error.is_parse() {
        return Fault::Malformed;
    }
    let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput) => Fault::Malformed,
        _ => Fault::Closed,
    }
}
