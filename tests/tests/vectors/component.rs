//! What the component is by its type: exactly the exports of `wit/policy.wit`, and no import through which it
//! could learn the time, a random number, or anything of the outside.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tollgate::policy::{Policy, wit};
use wasmtime::component::{Component, types::ComponentItem};
use wasmtime::{Config, Engine};

const INTERFACE: &str = "tollgate:policy/policy@0.1.0";

/// A configuration that a policy accepts.
const SMALLEST: &str = r#"
models = [{ name = "m", targets = [{ upstream = "main" }], price = { currency = "JPY", input = 1, output = 1 } }]
keys = [{ name = "k", digest = "sha256:1fb03a1c3fc96a0f4f1f8e1ec1e6a5f7b4d6e6ba3a0f4ac1d5d3d6b6ad5d5d5d" }]
"#;

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

#[test]
fn a_header_whose_name_was_not_said_is_a_trap() {
    let component = tollgate::policy::Engine::new().unwrap().embedded().unwrap();
    let policy =
        Policy::load(component, SMALLEST.into(), Vec::new(), vec!["main".into()], None).ok().unwrap();
    let names = u32::try_from(policy.headers().request.len()).unwrap();
    for name in (0..=names).chain([u32::MAX]) {
        let headers = [wit::HeaderParam { name, value: "Bearer sk-1" }];
        let head = wit::Head { method: "POST", path: "/v1/chat/completions", headers: &headers };
        let identity = policy.call(|policy| policy.identify(head));
        assert_eq!(identity.is_ok(), name < names, "{name}");
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
