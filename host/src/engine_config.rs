// The compiler settings that the ahead-of-time image and the engine that loads it must share.
// Included both by the build script and by `policy::engine`.

/// Settings of the wasmtime engine that runs policies.
pub fn engine_config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    // Cheaper than fuel by 2-3x, and enough: a deadline is about time, not about instructions.
    config.epoch_interruption(true);
    // Guest calls never block, so they are made synchronously.
    config.concurrency_support(false);
    config
}
