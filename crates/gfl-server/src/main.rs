//! `gfl-server`: arguments, configuration, application, listener, signals, end. Decides and passes on; does nothing
//! itself.

use anyhow::{Context, Result};
use gfl_core::App;
use gfl_core::clock::SystemClock;
use gfl_server::args::{self, Args, Asked};
use gfl_server::first::Tell;
use gfl_server::signals::Signals;
use gfl_server::start::{self, Plan};
use gfl_server::{Server, allocator, first, listen, logs, ui};
use std::io::IsTerminal;
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
    let signals = Signals::now();
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
        Asked::Run(args) => run(&args, signals).unwrap_or_else(|error| {
            ui::fatal(&format!("{error:#}"));
            ExitCode::FAILURE
        }),
    }
}

fn run(args: &Args, signals: Signals) -> Result<ExitCode> {
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
        start(args, &plan, signals)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn start(args: &Args, plan: &Plan, signals: Signals) -> Result<()> {
    logs::init(plan.log, &plan.log_level)?;
    for finding in &plan.findings {
        tracing::warn!("{finding}");
    }
    start::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().max(2)))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let tell = if args.print_token || std::io::stdout().is_terminal() {
        Tell::Shown
    } else {
        Tell::InFile
    };
    let outcome = runtime.block_on(serve(plan, tell, signals));
    runtime.shutdown_timeout(Duration::from_millis(BLOCKED_MS_MAX));
    outcome
}

async fn serve(plan: &Plan, tell: Tell, signals: Signals) -> Result<()> {
    // Bound before anything is opened or written: a second server on this address must not touch the first one's
    // folders, and an address that is taken leaves nothing behind.
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
    if plan.first_start {
        match first::prepare(plan, address, tell) {
            Ok(told) => ui::out(&told),
            Err(error) => {
                app.close().await;
                return Err(error);
            }
        }
    }
    let server = Server::new(Arc::clone(&app), plan.about.clone());
    server.set_metrics_access(plan.metrics);
    #[cfg(unix)]
    let admin = listen::AdminSocket::open(&server);
    let signals = signals.listen();
    ui::out(&plan.started(address));
    let watched = Arc::clone(&server);
    let watch = tokio::spawn(async move { watched.tokens.run().await });
    let drained = listen::serve(listener, server, signals.stop(), DRAIN_MS_MAX).await;
    if !drained {
        tracing::warn!(
            "requests still running after {} s were cut off",
            DRAIN_MS_MAX / 1000
        );
    }
    watch.abort();
    #[cfg(unix)]
    drop(admin);
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}
