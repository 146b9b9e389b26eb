//! Envoy's shared data: values by name, for all worker threads of one process, gone when it ends.
//!
//! A value is swapped only if it is still the one that was read. That is the one atomic step that the ledger and the
//! breakers are made of.

use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

/// How often a swap is tried. Each time somebody else has got further, so this is never reached by bad luck.
const ATTEMPTS: usize = 100_000;

/// What a value is created with: a number that no value has, so that only one of two creators succeeds.
const NOT_THERE: u32 = u32::MAX;

/// Replaces a value by what `change` makes of it. None leaves it as it is.
///
/// # Errors
/// Why nothing could be stored, or what `change` says.
pub fn swap<T>(
    name: &str,
    mut change: impl FnMut(&[u8]) -> Result<(T, Option<Vec<u8>>), String>,
) -> Result<T, String> {
    for _ in 0..ATTEMPTS {
        let (value, version) =
            hostcalls::get_shared_data(name).map_err(|status| format!("shared data: {status:?}"))?;
        let (answer, next) = change(&value.unwrap_or_default())?;
        let Some(next) = next else { return Ok(answer) };
        match hostcalls::set_shared_data(name, Some(&next), version.or(Some(NOT_THERE))) {
            Ok(()) => return Ok(answer),
            Err(Status::CasMismatch) => {}
            Err(status) => return Err(format!("shared data: {status:?}")),
        }
    }
    Err("shared data: others were faster each time".to_owned())
}
