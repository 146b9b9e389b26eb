//! The `tollgate` command.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::{Gateway, NotLoaded, PolicySource, Server, demo, key, log, provider};

/// An exchange makes some hundred small allocations; the system's allocator takes twice as long for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bad configuration: EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// A gateway for LLM APIs whose policy is one sandboxed component.
#[derive(Parser)]
#[command(name = "tollgate", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve requests.
    Serve(Serve),
    /// Check a configuration file: every problem at once, exit code 78 if there is one.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// Check with this policy instead of the built-in one.
        #[arg(long, value_name = "FILE.wasm")]
        policy: Option<PathBuf>,
    },
    /// Keys that clients present.
    Keys {
        #[command(subcommand)]
        action: Keys,
    },
}

#[derive(Args)]
struct Serve {
    /// The configuration file. Read again when it changes and on SIGHUP.
    #[arg(long, value_name = "FILE", required_unless_present = "demo")]
    config: Option<PathBuf>,
    /// Serve a simulated provider, with a key made for this run. Needs no account, network or file.
    #[arg(long, conflicts_with = "config")]
    demo: bool,
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Load this policy component instead of the built-in one.
    #[arg(long, value_name = "FILE.wasm")]
    policy: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log: LogFormat,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

#[derive(Subcommand)]
enum Keys {
    /// Make a key: prints the secret once, and what belongs into the configuration.
    New {
        /// The key's name in the configuration, logs and ledger.
        #[arg(default_value = "new-key")]
        name: String,
    },
}

fn main() -> ExitCode {
    let outcome = match Command::parse().action {
        Action::Serve(serve) => run(serve),
        Action::Check { file, policy } => check(&file, policy),
        Action::Keys { action: Keys::New { name } } => new_key(&name),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.is::<NotLoaded>() { BAD_CONFIGURATION } else { 1 })
        }
    }
}

fn run(serve: Serve) -> Result<()> {
    let format = match serve.log {
        LogFormat::Json => log::Format::Json,
        LogFormat::Text => log::Format::Text,
    };
    let _flush = log::to_stderr(format).map_err(|cause| anyhow::anyhow!("start the log: {cause}"))?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        match &serve.config {
            Some(file) => serve_config(file, &serve).await,
            None => serve_demo(&serve).await,
        }
    })
}

async fn serve_config(file: &Path, serve: &Serve) -> Result<()> {
    let gateway = load(file, serve.policy.clone())?;
    tokio::spawn(tollgate::watch(gateway.clone(), file.to_owned()));
    let server = bind(gateway, serve.listen).await?;
    tracing::info!(address = %server.local_addr()?, "listening");
    server.serve(told_to_stop()?).await;
    Ok(())
}

async fn serve_demo(serve: &Serve) -> Result<()> {
    let provider = TcpListener::bind("127.0.0.1:0").await.context("bind the simulated provider")?;
    let provider_address = provider.local_addr()?;
    tokio::spawn(provider::serve(provider));
    let key = key::Secret::generate()?;
    let gateway = Gateway::builder(demo::config(provider_address, &key.digest()))
        .policy(source(serve.policy.clone()))
        .build()?;
    let server = bind(gateway, serve.listen).await?;
    let greeting = demo::Greeting { address: server.local_addr()?, key: key.reveal() };
    print(&greeting.to_string())?;
    server.serve(told_to_stop()?).await;
    Ok(())
}

async fn bind(gateway: Gateway, listen: Option<SocketAddr>) -> Result<Server> {
    let address = listen.unwrap_or(gateway.server_settings().listen);
    Server::bind(gateway, listen).await.with_context(|| {
        format!("cannot listen on {address}; choose another with `--listen 127.0.0.1:0` or in `[server]`")
    })
}

fn check(file: &Path, policy: Option<PathBuf>) -> Result<()> {
    load(file, policy)?;
    print(&format!("{}: no problems\n", file.display()))
}

fn load(file: &Path, policy: Option<PathBuf>) -> Result<Gateway> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // The problems name lines of the file; they stand alone, without the chain of an error's contexts.
    Gateway::builder(text).policy(source(policy)).build().map_err(|problems| {
        eprintln!("tollgate: {} cannot be used:", file.display());
        problems.into()
    })
}

fn source(policy: Option<PathBuf>) -> PolicySource {
    policy.map_or(PolicySource::Embedded, PolicySource::File)
}

fn new_key(name: &str) -> Result<()> {
    let key = key::Secret::generate()?;
    print(&format!(
        "{}\n\nThe key above is shown this once. Into the configuration goes its digest:\n\n\
         [[keys]]\nname = {name:?}\ndigest = \"{}\"\n",
        key.reveal(),
        key.digest()
    ))
}

/// Ready on SIGTERM or SIGINT.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// To stdout, with an error instead of a panic when nobody reads it.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}
