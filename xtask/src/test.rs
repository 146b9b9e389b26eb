//! `cargo xtask test`: every check there is, in an order that fails early, and nothing twice.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools::{NATIVE, WASM};
use crate::{ahead, python, step, tools};

/// A named part of the checks.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the source is formatted", run: fmt },
    Step { name: "deny", about: "dependencies keep the rules of deny.toml", run: deny },
    Step { name: "clippy", about: "no lint in the workspace", run: clippy },
    Step { name: "clippy-wasm", about: "no lint in what is built for wasm", run: clippy_wasm },
    Step {
        name: "cargo",
        about: "unit, property, vector, end-to-end and documentation tests",
        run: cargo_test,
    },
    Step { name: "openai", about: "the official openai package as client", run: openai },
    Step { name: "admin", about: "the operators' listener as described, and the commands", run: admin },
    Step { name: "readme", about: "what README shows does what it says", run: readme },
];

/// Runs the steps named, or all of them; stops at the first that fails.
pub fn test(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`; the steps are {}", known.join(", "));
    }
    tools::ensure_wasm_target()?;
    // Before any step: to check the tests' code means to build what they run.
    tools::ensure_programs(&["redis-server", "faketime", "wasm-opt"])?;
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)).collect();
    if chosen.iter().any(|step| ["clippy", "cargo"].contains(&step.name)) {
        ahead::build_guests()?;
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        println!("\n== {}/{} {}: {}", index + 1, chosen.len(), step.name, step.about);
        let step_begin = Instant::now();
        let result = (step.run)();
        let took = step_begin.elapsed();
        if result.is_err() {
            println!(
                "\n== {} FAILED after {}; repeat it with: cargo xtask test {}",
                step.name,
                show(took),
                step.name
            );
        }
        result.with_context(|| format!("step `{}`", step.name))?;
        times.push((step.name, took));
    }
    println!();
    for (name, took) in times {
        println!("   {name:<18} {:>8}", show(took));
    }
    println!("== {} steps passed in {}", chosen.len(), show(begin.elapsed()));
    Ok(())
}

fn fmt() -> Result<()> {
    step::run(step::cargo(&["fmt", "--all", "--check"])).context("mend it with `cargo fmt --all`")
}

fn deny() -> Result<()> {
    let mut command = Command::new(tools::cargo_deny()?);
    // A crate that nothing may depend on is written as its own only wrapper, which is then rightly never met.
    command.args(["check", "--allow", "unused-wrapper", "bans", "licenses", "sources"]);
    command.current_dir(tools::root());
    step::run(command)
}

fn clippy() -> Result<()> {
    let args = [&["clippy", "--locked", "--all-targets"], NATIVE, &["--", "-D", "warnings"]];
    step::run(step::cargo(&args.concat()))
}

fn clippy_wasm() -> Result<()> {
    for (target, packages) in WASM {
        let args = [&["clippy", "--locked", "--target", target], packages, &["--", "-D", "warnings"]];
        step::run(step::cargo(&args.concat()))?;
    }
    Ok(())
}

fn cargo_test() -> Result<()> {
    // Envoy comes with the Python packages.
    python::ensure()?;
    // Plain `cargo test`: it runs documentation tests too, and needs nothing installed.
    step::run(step::cargo(&[&["test", "--locked"], NATIVE].concat()))
}

fn openai() -> Result<()> {
    python::pytest("tests/openai", &tools::build("tollgate", "dev")?)
}

fn admin() -> Result<()> {
    python::pytest("tests/admin", &tools::build("tollgate", "dev")?)
}

fn readme() -> Result<()> {
    python::pytest("tests/readme", &tools::build("tollgate", "dev")?)
}

fn show(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
