//! `gfl-server`: arguments, configuration, application, listener, signals, end. Decides and passes on; does nothing
//! itself.

use anyhow::{Context, Result};
use gfl_core::App;
use gfl_core::clock::SystemClock;
use gfl_server::args::{self, Args, Asked};
use gfl_server::listen::Transport;
use gfl_server::start::{self, Plan};
use gfl_server::tls::Tls;
use gfl_server::{Server, allocator, first, listen, logs, ui};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What runs at a stop signal is finished within this time.
const DRAIN_MS_MAX: u64 = 30_000;
/// Threads for blocking file operations; more of them only queue up in the kernel.
const BLOCKING_THREADS_MAX: usize = 16;
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
        Asked::Run(args) => match run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                ui::fatal(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn run(args: &Args) -> Result<()> {
    let config = start::read_config(args)?;
    let plan = start::plan(args, config)?;
    if args.check {
        ui::out(&plan.describe()?);
        return Ok(());
    }
    logs::init(plan.log, &plan.log_level)?;
    if plan.first_start {
        ui::out(&first::prepare(&plan)?);
    }
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    start::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().max(2)))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(&plan));
    runtime.shutdown_timeout(Duration::from_millis(BLOCKED_MS_MAX));
    outcome
}

async fn serve(plan: &Plan) -> Result<()> {
    // Bound before anything is opened: a second server on this address must not touch the first one's folders.
    let listener = listen::bind(&plan.address).await.with_context(|| {
        format!(
            "cannot listen on {}, choose another server.address",
            plan.address
        )
    })?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let app = App::open(plan.settings.clone(), Arc::new(SystemClock))
        .await
        .map_err(start::open_failed)?;
    let (tls, upkeep) = match &plan.tls.source {
        Some(source) => {
            let (tls, upkeep) = Tls::open(source).await?;
            (Some(tls), Some(tokio::spawn(upkeep.run())))
        }
        None => (None, None),
    };
    let server = Server::new(Arc::clone(&app), plan.about.clone());
    ui::out(&plan.started(address, tls.as_deref()));
    ui::err(&plan.unsafe_notes(address));
    let transport = Transport::new(tls, plan.tls.plain);
    let drained = listen::serve(listener, server, transport, stop_signal(), DRAIN_MS_MAX).await;
    if let Some(upkeep) = upkeep {
        upkeep.abort();
    }
    if !drained {
        tracing::warn!(
            "requests still running after {} s were cut off",
            DRAIN_MS_MAX / 1000
        );
    }
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Resolves at the first stop signal. The second one ends the process at once.
async fn stop_signal() {
    let signal = next_signal().await;
    tracing::info!("{signal}: finishing what runs, send it again to end at once");
    tokio::spawn(async {
        next_signal().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn next_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => signal.recv().await,
            // Without a handler the default action ends the process, which is right too.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = wait(SignalKind::terminate()) => "SIGTERM",
        _ = wait(SignalKind::interrupt()) => "SIGINT",
        _ = wait(SignalKind::hangup()) => "SIGHUP",
    }
}

#[cfg(not(unix))]
async fn next_signal() -> &'static str {
    let _ = tokio::signal::ctrl_c().await;
    "Ctrl-C"
}
