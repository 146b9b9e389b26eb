//! `tollgate serve`: the server, from a configuration file or as a demonstration.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::{Admin, Gateway, LedgerApi, Server, Watch, demo, key, log, provider, store, tell};

use super::{load, print, source};

/// How to serve.
#[derive(Args)]
pub struct Serve {
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

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

/// Serves until it is told to stop.
pub fn run(serve: &Serve) -> Result<()> {
    let format = match serve.log {
        LogFormat::Json => log::Format::Json,
        LogFormat::Text => log::Format::Text,
    };
    let _flush = log::to_stderr(format).map_err(|cause| anyhow::anyhow!("start the log: {cause}"))?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        outlive_full_disks()?;
        match &serve.config {
            Some(file) => serve_config(file, serve).await,
            None => serve_demo(serve).await,
        }
    })
}

async fn serve_config(file: &Path, serve: &Serve) -> Result<()> {
    let watch = Watch::begin(file, &source(serve.policy.clone())).context("listen for SIGHUP")?;
    let loaded = load(file, serve.policy.clone())?;
    let (config, secrets) = (loaded.config().clone(), loaded.secrets().clone());
    tell(loaded.notes());
    let store = store::open(&config.ledger, &secrets, loaded.now()).await.context("open the ledger")?;
    let gateway = loaded.with_store(store);
    tokio::spawn(watch.keep(gateway.clone()));
    if let Some(settings) = &config.admin {
        let admin = Admin::bind(gateway.clone(), settings.listen, secrets.admin_token.as_deref());
        let admin = admin.await.with_context(|| {
            format!("cannot listen for operators on {}; choose another address in `[admin]`", settings.listen)
        })?;
        tracing::info!(address = %admin.local_addr()?, "listening for operators");
        tokio::spawn(admin.serve());
    }
    if let (Some(settings), Some(token)) = (&config.ledger_api, &secrets.ledger_api_token) {
        let api = LedgerApi::bind(&gateway, settings.listen, token).await.with_context(|| {
            format!(
                "cannot listen for shells on {}; choose another address in `[ledger_api]`",
                settings.listen
            )
        })?;
        tracing::info!(address = %api.local_addr()?, "listening for shells");
        tokio::spawn(api.serve());
    }
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
    let address = listen.unwrap_or(gateway.config().server.listen);
    let server = Server::bind(gateway, listen).await.with_context(|| {
        format!("cannot listen on {address}; choose another with `--listen 127.0.0.1:0` or in `[server]`")
    })?;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    server.on_threads(threads).context("start the threads that serve")
}

/// SIGXFSZ on the platforms of ours.
const FILE_TOO_LARGE: i32 = 25;

/// A file that has reached `ulimit -f` is an error of the write, which the ledger handles as a disk that is full, and
/// not the end of the process, which the signal is unless somebody listens to it.
fn outlive_full_disks() -> Result<()> {
    signal(SignalKind::from_raw(FILE_TOO_LARGE)).context("listen for SIGXFSZ").map(drop)
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
