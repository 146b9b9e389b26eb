//! What a person types: `cargo xtask up`, `edge`, `shrink`, `test` and `bench`.
//!
//! It starts the tools that do the work and says what it starts, how long it took and, when something fails, the
//! command that repeats it. It adds what is missing where it can, and says how to add it where it cannot.

mod ahead;
mod bench;
mod edge;
mod python;
mod step;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use anyhow::Result;

const USAGE: &str = "\
usage: cargo xtask <command>

  up [ARGS]         build the gateway and start it with its built-in provider (`tollgate serve --demo ARGS`)
  edge              compose the policy and a shell into target/tollgate-edge.wasm, for any host of wasi:http 0.3
  shrink FILES      make modules and components smaller, in their places, with Binaryen's `wasm-opt`
  test [STEPS]      run every check, or only the steps named
  bench [--quick] [--noise | --envoy]
                    build for release and measure against a bare proxy; --noise measures the machine itself,
                    --envoy only the plugin, against Envoy without it
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    match args.split_first() {
        Some((command, rest)) if command == "up" => up::up(rest),
        Some((command, [])) if command == "edge" => edge::edge(),
        Some((command, files)) if command == "shrink" && !files.is_empty() => edge::shrink_all(files),
        Some((command, rest)) if command == "test" => test::test(rest),
        Some((command, rest)) if command == "bench" => bench::bench(rest),
        Some((command, _)) if ["help", "-h", "--help"].contains(&command.as_str()) => {
            print!("{USAGE}");
            Ok(())
        }
        Some((command, _)) => anyhow::bail!("there is no command `{command}`\n\n{USAGE}"),
        None => anyhow::bail!("a command is missing\n\n{USAGE}"),
    }
}
