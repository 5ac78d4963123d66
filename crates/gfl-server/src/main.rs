//! `gfl-server`: arguments, configuration, application, listener, signals, end. Decides and passes on; does nothing
//! itself.

use anyhow::{Context, Result};
use gfl_core::App;
use gfl_core::clock::SystemClock;
use gfl_server::args::{self, Args, Asked};
use gfl_server::first::Tell;
use gfl_server::life::notify::{Notify, watchdog_interval};
use gfl_server::life::reload::Reloader;
use gfl_server::life::signals::Signals;
use gfl_server::life::watch::Watch;
use gfl_server::life::{self, inherit, watchdog};
use gfl_server::limits::{Limits, raise_descriptors};
use gfl_server::listen::Transport;
use gfl_server::start::{self, Plan};
use gfl_server::{Server, allocator, first, listen, logs, ui};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Threads for blocking file operations; more of them only queue up in the kernel.
const BLOCKING_THREADS_MAX: usize = 16;
/// A worker looks for new connections and other events after so many tasks, and takes one that came from elsewhere.
/// Tokio's own 61 is for short tasks; under full load one of ours moves some 100 KiB, and whoever asks for our health
/// should not wait for 61 of them. A look costs about a microsecond.
const TASKS_BETWEEN_LOOKS: u32 = 8;
/// Stack of one thread.
const THREAD_STACK_BYTES: usize = 512 * 1024;
/// Work that is still blocked after the end does not keep the process longer than this.
const BLOCKED_MS_MAX: u64 = 2_000;

fn main() -> ExitCode {
    allocator::tune();
    let given: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    match args::parse(&given) {
        Asked::Exit {
            code,
            stdout,
            stderr,
        } => {
            ui::out(&stdout);
            ui::err(&stderr);
            ExitCode::from(code)
        }
        Asked::Run(args) => run(&args).unwrap_or_else(|error| {
            ui::fatal(&format!("{error:#}"));
            ExitCode::FAILURE
        }),
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    // A socket that systemd opened reaches as far as it does, whatever the configuration says: all that is decided
    // and doubted is about it.
    let inherited = inherit::take()?;
    let args = &Args {
        passed: told_address(&inherited)?,
        ..args.clone()
    };
    let looked = Watch::new(vec![PathBuf::from(&args.config)]);
    let mut plan = start::plan(args, start::read_config(args)?);
    plan.look();
    if args.check {
        ui::out(&plan.describe());
    } else if plan.is_refused() {
        for finding in plan.findings.iter().filter(|finding| finding.fatal) {
            ui::fatal(&finding.to_string());
        }
    }
    if plan.is_refused() {
        return Ok(ExitCode::FAILURE);
    }
    if !args.check {
        start(args, &plan, looked, inherited)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn start(
    args: &Args,
    plan: &Plan,
    looked: Watch,
    inherited: Vec<std::net::TcpListener>,
) -> Result<()> {
    logs::init(plan.log, &plan.log_level)?;
    for finding in &plan.findings {
        tracing::warn!("{finding}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().max(2)))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .event_interval(TASKS_BETWEEN_LOOKS)
        .global_queue_interval(TASKS_BETWEEN_LOOKS)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let tell = if args.print_token || std::io::stdout().is_terminal() {
        Tell::Shown
    } else {
        Tell::InFile
    };
    let outcome = runtime.block_on(serve(args, plan, looked, tell, inherited));
    runtime.shutdown_timeout(Duration::from_millis(BLOCKED_MS_MAX));
    outcome
}

async fn serve(
    args: &Args,
    plan: &Plan,
    mut looked: Watch,
    tell: Tell,
    inherited: Vec<std::net::TcpListener>,
) -> Result<()> {
    // Bound before anything is opened or written: a second server on this address must not touch the first one's
    // folders, and an address that is taken leaves nothing behind.
    let listeners = listeners(plan, inherited).await?;
    let address = match args.passed {
        Some(passed) => passed,
        None => listeners
            .first()
            .context("there is no listener")?
            .local_addr()?,
    };
    let app = App::open(plan.settings.clone(), Arc::new(SystemClock))
        .await
        .map_err(start::open_failed)
        .with_context(|| {
            format!(
                "cannot open storage_dir {} with meta_dir {}",
                plan.folders.storage_dir, plan.folders.meta_dir
            )
        })?;
    let (tls, upkeep) = match plan.tls.open().await {
        Ok(opened) => opened.unzip(),
        Err(error) => {
            app.close().await;
            return Err(error);
        }
    };
    if plan.first_start {
        match first::prepare(plan, address, tell) {
            Ok(told) => {
                looked = Watch::new(vec![PathBuf::from(&args.config)]);
                ui::out(&told);
            }
            Err(error) => {
                app.close().await;
                return Err(error);
            }
        }
    }
    let server = Server::new(Arc::clone(&app), plan.about.clone());
    let descriptors = raise_descriptors();
    let (limits, warning) = Limits::new(&plan.server, descriptors)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    server.set_limits(limits);
    server.set_metrics_access(plan.server.metrics);
    // Before anybody is told that it is ready: the next thing he does may be to send a signal.
    let signals = Signals::listen().context("cannot listen to signals")?;
    let _discovery = {
        let app = Arc::clone(&app);
        plan.discovery.start(address, move || app.auth_enabled())
    };
    #[cfg(unix)]
    let admin = listen::AdminSocket::open(&server);
    ui::out(&plan.started(address, tls.as_deref()));
    let notify = Arc::new(Notify::from_env(format!("Listening on {address}")));
    notify.ready();
    guard(&server, &notify);
    let watched = Arc::clone(&server);
    let watch = tokio::spawn(async move { watched.tokens.run().await });
    let config = plan.server.clone();
    let mut reloader = Reloader::new(args.clone(), config, Arc::clone(&server), descriptors);
    let upkeep = upkeep.map(|upkeep| {
        if let Some((hook, files)) = upkeep.hook() {
            looked.add(files);
            reloader.add(hook);
        }
        tokio::spawn(upkeep.run())
    });
    let transport = Transport::new(tls, plan.tls.plain);
    let stopped = life::until_stopped(signals, reloader, notify, looked);
    let finished = listen::serve(listeners, Arc::clone(&server), transport, stopped).await;
    if !finished {
        let seconds = server.limits().drain.limit_ms / 1000;
        tracing::warn!("requests still running after {seconds} s were cut off");
    }
    watch.abort();
    upkeep.inspect(JoinHandle::abort);
    #[cfg(unix)]
    drop(admin);
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What systemd opened for us, else the configured address.
async fn listeners(
    plan: &Plan,
    inherited: Vec<std::net::TcpListener>,
) -> Result<Vec<tokio::net::TcpListener>> {
    if !inherited.is_empty() {
        tracing::info!("server.address is not used: systemd passed sockets to listen on");
        let adopt = |listener| tokio::net::TcpListener::from_std(listener);
        let adopted: std::io::Result<_> = inherited.into_iter().map(adopt).collect();
        return adopted.context("cannot use the sockets that systemd passed");
    }
    let listener = listen::bind(&plan.address).await.with_context(|| {
        format!(
            "cannot listen on {}, choose another server.address",
            plan.address
        )
    })?;
    Ok(vec![listener])
}

/// The address to tell of sockets: where there are several, one that others can reach.
fn told_address(listeners: &[std::net::TcpListener]) -> Result<Option<SocketAddr>> {
    let addresses: std::io::Result<Vec<_>> = listeners.iter().map(|l| l.local_addr()).collect();
    let addresses = addresses.context("a socket that systemd passed has no address")?;
    let public = addresses
        .iter()
        .find(|a| !a.ip().to_canonical().is_loopback());
    Ok(public.or(addresses.first()).copied())
}

/// Gives systemd signs of life, if it wants them.
fn guard(server: &Arc<Server>, notify: &Arc<Notify>) {
    let Some(interval) = watchdog_interval() else {
        return;
    };
    let (server, notify) = (Arc::clone(server), Arc::clone(notify));
    tokio::spawn(async move {
        watchdog::run(interval, || server.probe(), || notify.alive()).await;
    });
}
