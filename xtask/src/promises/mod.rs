//! `cargo xtask promises`: measures what the project promises, on release binaries, and fails over a limit.

mod attacks;
mod large;
mod latency;
mod memory;
mod ready;
mod sizes;
mod tls;

use crate::table::Table;
use crate::tools;
use anyhow::{Result, bail};
use gfl_e2e::bins;

/// One measured promise.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// What.
    pub(crate) name: String,
    /// The figure, with its unit.
    pub(crate) value: String,
    /// The limit, with its unit.
    pub(crate) limit: String,
    /// Whether it holds.
    pub(crate) kept: bool,
}

impl Measured {
    /// A figure that must stay below a limit.
    pub(crate) fn below(name: impl Into<String>, value: f64, limit: f64, unit: &str) -> Measured {
        Measured {
            name: name.into(),
            value: format!("{value:.2} {unit}"),
            limit: format!("< {limit} {unit}"),
            kept: value < limit,
        }
    }

    /// Something that must be true; `value` says what was seen.
    pub(crate) fn holds(name: impl Into<String>, kept: bool, value: impl Into<String>) -> Measured {
        Measured {
            name: name.into(),
            value: value.into(),
            limit: "must hold".into(),
            kept,
        }
    }
}

/// What is measured, given what stands behind its name: `attacks:HugeHead` is one attack alone.
type Promise = (&'static str, fn(Option<&str>) -> Result<Vec<Measured>>);

/// The server's memory, whatever happens.
const MEGABYTES_MAX: f64 = 50.0;
/// Room for a million small files or two copies of 5 GiB.
const ROOM_BYTES: u64 = 16 << 30;

/// Measures all, or those named.
pub(crate) fn run(only: &[String]) -> Result<()> {
    let all: [Promise; 7] = [
        ("sizes", |_| sizes::measure()),
        ("memory", |_| memory::measure()),
        ("tls", |_| tls::measure()),
        ("ready", |_| ready::measure()),
        ("health", |_| latency::measure()),
        ("attacks", attacks::measure),
        ("large", |_| large::measure()),
    ];
    let only: Vec<(&str, Option<&str>)> = only
        .iter()
        .map(|o| match o.split_once(':') {
            Some((name, part)) => (name, Some(part)),
            None => (o.as_str(), None),
        })
        .collect();
    let is_known = |(name, part): &(&str, Option<&str>)| {
        all.iter().any(|(n, _)| n == name) && (part.is_none() || *name == "attacks")
    };
    if let Some((unknown, _)) = only.iter().find(|asked| !is_known(asked)) {
        bail!(
            "{unknown}: unknown; there are sizes, memory, tls, ready, health, attacks (or one of them: attacks:HugeHead), large"
        );
    }
    bins::set_folder(&tools::build("release")?);
    let mut table = Table::new(&["promise", "measured", "limit", ""]);
    let mut broken = 0;
    for (name, measure) in all {
        let parts: Vec<Option<&str>> = match only.is_empty() {
            true => vec![None],
            false => only.iter().filter(|o| o.0 == name).map(|o| o.1).collect(),
        };
        for part in parts {
            println!("measuring {name} {} …", part.unwrap_or_default());
            for m in measure(part)? {
                broken += usize::from(!m.kept);
                let verdict = if m.kept { "ok" } else { "BROKEN" };
                table.row(vec![m.name, m.value, m.limit, verdict.to_owned()]);
            }
        }
    }
    table.print();
    if broken > 0 {
        bail!("{broken} promises broken");
    }
    println!("all promises kept");
    Ok(())
}
