//! `GET /metrics`: who may read it, in which form, and the families it has. The names are a promise: docs/observe.md
//! lists them.

use super::classify::{Direction, Protocol};
use super::meters::{AUTH_REASONS, DURATION_BOUNDS_S, Meters, RESULTS};
use super::page::{Format, Page};
use super::process::Process;
use crate::body::Body;
use crate::caller;
use crate::listen::Counts;
use crate::problem::{Failure, Outcome};
use crate::server::{Call, Server};
use gfl_api::config::MetricsAccess;
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_core::auth::Verb;
use gfl_core::catalog::door::Stats;
use gfl_core::gauges::Gauges;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};

/// Answers `/metrics`.
pub async fn answer(call: &Call) -> Response<Body> {
    call.route("/metrics");
    match scrape(call).await {
        Ok(answer) => answer,
        Err(failure) => failure.into_answer(&call.facts.id),
    }
}

async fn scrape(call: &Call) -> Outcome {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Failure::method("GET, HEAD"));
    }
    admit(call).await?;
    let format = Format::wanted(call.header("accept").as_deref());
    let mut answer = Response::new(Body::full(page(&call.server, format)));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Whether this caller may read them.
async fn admit(call: &Call) -> Outcome<()> {
    let open = match call.server.metrics_access() {
        MetricsAccess::Public => true,
        MetricsAccess::Local => call.is_local,
        MetricsAccess::Permission => false,
    };
    if open {
        return Ok(());
    }
    let caller = caller::for_v1(call).await?;
    if caller.may(Verb::Metrics, &FilePath::root()).is_ok() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Forbidden,
        "permission denied, metrics take a token with 'metrics'",
    ))
}

/// Everything.
fn page(server: &Server, format: Format) -> String {
    let mut page = Page::new(format);
    page.info("gfl_build", "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    requests(&mut page, &server.meters);
    transfers(&mut page, &server.meters);
    let gauges = server.app.gauges();
    uploads(&mut page, &server.meters, &gauges);
    let connections = server.slots.counts();
    page.gauge("gfl_connections", "Open connections, by state.")
        .sample(
            &[("state", "busy")],
            connections.open.saturating_sub(connections.waiting) as u64,
        )
        .sample(&[("state", "idle")], connections.waiting as u64);
    refusals(&mut page, server, connections);
    inside(&mut page, &gauges);
    page.gauge(
        "gfl_draining",
        "1 while the server finishes what runs before it ends.",
    )
    .sample(&[], u64::from(server.is_draining()));
    process(&mut page, &Process::now());
    page.finish()
}

fn requests(page: &mut Page, meters: &Meters) {
    let help = "Requests answered, by method, route and status; 499: the client left before there was an answer.";
    let mut family = page.counter("gfl_http_requests", help);
    for ((route, method, code), count) in meters.request_counts() {
        let code = code.to_string();
        family.sample(
            &[("method", method), ("route", route), ("code", &code)],
            count,
        );
    }
    let help = "From the request's head to the last byte of the answer.";
    let mut family = page.histogram("gfl_http_request_duration_seconds", help);
    for (route, buckets) in meters.durations() {
        family.buckets(&[("route", route)], &DURATION_BOUNDS_S, &buckets);
    }
}

fn transfers(page: &mut Page, meters: &Meters) {
    let every = || {
        Direction::ALL
            .into_iter()
            .flat_map(|direction| Protocol::ALL.map(|protocol| (direction, protocol)))
    };
    let help = "Bytes of content as they went over the wire, counted while they move.";
    let mut family = page.counter("gfl_transfer_bytes", help);
    for (direction, protocol) in every() {
        let labels = [
            ("direction", direction.name()),
            ("protocol", protocol.name()),
        ];
        family.sample(&labels, meters.bytes_so_far(direction, protocol));
    }
    let help =
        "Files whose transfer has ended; a range up to the end of a file counts as the file.";
    let mut family = page.counter("gfl_transfers", help);
    for (direction, protocol) in every() {
        for (result, count) in RESULTS
            .into_iter()
            .zip(meters.files_so_far(direction, protocol))
        {
            let labels = [
                ("direction", direction.name()),
                ("protocol", protocol.name()),
                ("result", result),
            ];
            family.sample(&labels, count);
        }
    }
    let mut family = page.gauge("gfl_transfers_active", "Requests that move content now.");
    for direction in Direction::ALL {
        family.sample(
            &[("direction", direction.name())],
            meters.running(direction),
        );
    }
}

fn uploads(page: &mut Page, meters: &Meters, gauges: &Gauges) {
    page.gauge(
        "gfl_uploads_active",
        "Upload sessions that are open in this process.",
    )
    .sample(&[], gauges.uploads_open as u64);
    let help = "Uploads that have ended, by result; only sessions are cancelled or expire.";
    let mut family = page.counter("gfl_uploads", help);
    for protocol in Protocol::ALL {
        let files = meters.files_so_far(Direction::Up, protocol);
        for (result, count) in RESULTS.into_iter().zip(files) {
            family.sample(&[("protocol", protocol.name()), ("result", result)], count);
        }
    }
    for (result, count) in [
        ("cancelled", meters.cancelled()),
        ("expired", gauges.uploads_expired),
    ] {
        family.sample(&[("protocol", "any"), ("result", result)], count);
    }
}

fn refusals(page: &mut Page, server: &Server, connections: Counts) {
    let meters = &server.meters;
    let help = "Requests without a valid token, by reason.";
    let mut family = page.counter("gfl_auth_failures", help);
    for (reason, count) in AUTH_REASONS.into_iter().zip(meters.auth_failures()) {
        family.sample(&[("reason", reason)], count);
    }
    let help = "How often a limit turned somebody away or ended something.";
    let mut family = page.counter("gfl_limits_hit", help);
    let of_connections = [
        ("connections", connections.evicted_total),
        ("connections_per_address", connections.refused_total),
    ];
    let cutoffs = server.slots.cutoffs();
    let cutoffs = cutoffs.map(|(why, count)| (why.name(), count));
    let all = meters.limits_hit().into_iter().chain(of_connections);
    for (limit, count) in all.chain(cutoffs) {
        family.sample(&[("limit", limit)], count);
    }
}

/// The catalog's database on the other end of connections.
fn database(page: &mut Page, catalog: &Stats) {
    page.gauge(
        "gfl_database_up",
        "1 while the database answers, 0 while it is away.",
    )
    .sample(&[], u64::from(!catalog.away));
    let mut family = page.gauge(
        "gfl_database_connections",
        "Connections of the pool, by state.",
    );
    family.sample(&[("state", "used")], catalog.used).sample(
        &[("state", "idle")],
        catalog.open.saturating_sub(catalog.used),
    );
    page.gauge(
        "gfl_database_waiting",
        "Transactions that wait for a connection.",
    )
    .sample(&[], catalog.queued);
    page.counter("gfl_database_connects", "Connections made.")
        .sample(&[], catalog.connects);
    page.counter(
        "gfl_database_lost",
        "Transactions that lost their connection.",
    )
    .sample(&[], catalog.lost);
}

fn inside(page: &mut Page, gauges: &Gauges) {
    let mut family = page.gauge("gfl_queue_length", "Work that waits, by queue.");
    for (queue, length) in [
        ("settle", gauges.settle_waiting as u64),
        ("adoption", gauges.adoption_waiting as u64),
        ("catalog", gauges.catalog_waiting),
        ("access_log", gauges.access_waiting as u64),
    ] {
        family.sample(&[("queue", queue)], length);
    }
    page.counter(
        "gfl_access_log_dropped",
        "Rows of the access log dropped because the catalog did not take them in time.",
    )
    .sample(&[], gauges.access_dropped);
    let catalog = gauges.catalog;
    let mut family = page.counter("gfl_catalog_transactions", "Transactions, by kind.");
    family
        .sample(&[("kind", "read")], catalog.reads)
        .sample(&[("kind", "write")], catalog.writes);
    page.counter(
        "gfl_catalog_commits",
        "Commits that were acknowledged; one may carry many transactions.",
    )
    .sample(&[], catalog.commits);
    page.counter("gfl_catalog_retries", "Transactions begun again.")
        .sample(&[], catalog.retries);
    if gauges.database {
        database(page, &catalog);
    }
    if let Some(space) = gauges.space {
        let used = space.total_bytes.saturating_sub(space.free_bytes);
        for (name, help, value) in [
            (
                "gfl_storage_size_bytes",
                "Size of the storage's file system.",
                space.total_bytes,
            ),
            (
                "gfl_storage_free_bytes",
                "Room left there for this server.",
                space.free_bytes,
            ),
            ("gfl_storage_used_bytes", "Used there, by whatever.", used),
        ] {
            page.gauge(name, help).sample(&[], value);
        }
    }
    if let Some(tokens) = gauges.tokens {
        let mut family = page.gauge("gfl_tokens", "Tokens in the tokens file, by status.");
        family
            .sample(&[("status", "active")], tokens.active as u64)
            .sample(&[("status", "expired")], tokens.expired as u64)
            .sample(&[("status", "revoked")], tokens.revoked as u64);
    }
}

fn process(page: &mut Page, process: &Process) {
    if let Some(seconds) = process.cpu_s {
        page.counter("process_cpu_seconds", "User and system CPU time.")
            .float(&[], seconds);
    }
    if let Some(seconds) = process.start_s {
        page.gauge(
            "process_start_time_seconds",
            "When the process started, since 1970.",
        )
        .float(&[], seconds);
    }
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory.",
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "File descriptors open.",
            process.fds_open,
        ),
        (
            "process_max_fds",
            "File descriptors allowed.",
            process.fds_max,
        ),
        ("process_threads", "Threads.", process.threads),
    ] {
        if let Some(value) = value {
            page.gauge(name, help).sample(&[], value);
        }
    }
}
