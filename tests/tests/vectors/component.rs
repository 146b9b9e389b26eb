//! What the component is by its type: exactly the exports of `wit/policy.wit`, and no import through which it
//! could learn the time, a random number, or anything of the outside.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wasmtime::component::{Component, types::ComponentItem};
use wasmtime::{Config, Engine};

const INTERFACE: &str = "tollgate:policy/policy@0.1.0";

/// The functions of the interface, as a component names them.
const FUNCTIONS: [&str; 9] = [
    "[static]gateway.load",
    "[method]gateway.identify",
    "[method]gateway.admit",
    "[method]gateway.judge",
    "[method]gateway.feed",
    "[method]gateway.settle",
    "[method]gateway.refuse",
    "[method]gateway.callers",
    "[method]gateway.limits",
];

/// All that a component of the standard library may import: what a process has before it does anything. The host
/// grants none of it: each of these traps when it is called.
const IMPORTS: [&str; 13] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
];

#[test]
fn it_exports_the_interface_and_nothing_else() {
    let (engine, component) = component();
    let component = component.component_type();
    let exports: Vec<_> = component.exports(&engine).collect();
    let names: Vec<&str> = exports.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [INTERFACE]);

    let ComponentItem::ComponentInstance(interface) = exports[0].1.ty.clone() else {
        panic!("{INTERFACE} is no interface")
    };
    let mut functions = BTreeSet::new();
    for (name, item) in interface.exports(&engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => drop(functions.insert(name.to_owned())),
            ComponentItem::Type(_) | ComponentItem::Resource(_) => {}
            _ => panic!("{name} is neither a function nor a type"),
        }
    }
    assert_eq!(functions, FUNCTIONS.map(str::to_owned).into());
}

#[test]
fn it_imports_no_clock_no_randomness_no_network_and_no_files() {
    let (engine, component) = component();
    let component = component.component_type();
    for (name, _) in component.imports(&engine) {
        let interface = name.split('@').next().unwrap();
        assert!(IMPORTS.contains(&interface), "{name} is not on the list");
    }
}

/// The component that the host's build script made, in the target directory of this test.
fn component() -> (Engine, Component) {
    let target: PathBuf = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let path = target.join("guest/wasm32-wasip2/guest/tollgate_component.wasm");
    let wasm = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut config = Config::new();
    config.wasm_component_model(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, wasm).unwrap();
    (engine, component)
}
