//! `gfl-admin doctor`: whether the server of a configuration can do its work here, and what to do when it cannot.
//! Looks at the machine, asks the server that runs, and reads the catalog of one that does not. Changes nothing but
//! for two files that it writes and removes to see that it can.

mod catalog;
mod disk;
mod report;
mod secrets;
mod server;
mod time;
mod tokens;

use crate::place::{CONFIG_DEFAULT, shown};
use crate::{Failure, Result, ui};
use anyhow::Context;
use gfl_api::goflags::{self, Known};
use gfl_server::args::Args;
use gfl_server::start::{self, Plan};
use jiff::Timestamp;
use report::{Check, Report};
use std::path::Path;

const FLAGS: &[Known] = &[Known::value("config"), Known::switch("json")];
const USAGE: &str = "\
Usage of doctor:
  -config string
    \tThe server's configuration (default \"goflux.json\")
  -json
    \tPrint JSON
Ends with 0 when nothing has failed, else with 1; warnings do not count.";

/// Looks, and tells.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let config = flags.value("config").unwrap_or(CONFIG_DEFAULT);
    let report = examine(config);
    if flags.is_on("json") {
        let text = serde_json::to_string(&report).context("cannot write JSON")?;
        ui::out(text);
    } else {
        report.lines().into_iter().for_each(ui::out);
    }
    if report.has_failed() {
        return Err(Failure::Said);
    }
    Ok(())
}

fn examine(config: &str) -> Report {
    let mut report = Report::default();
    let Some(plan) = configuration(config, &mut report) else {
        return report;
    };
    let now = Timestamp::now();
    report.extend(secrets::look(&plan));
    report.extend(disk::look(&plan));
    report.extend(time::look(&plan, now));
    report.extend(tokens::look(&plan, now));
    let server = server::ask(&plan, &mut report);
    report.extend(catalog::look(&plan, &server));
    report
}

/// What the server would do with its configuration, and everything that `gfl-server -check` doubts about it.
fn configuration(config: &str, report: &mut Report) -> Option<Plan> {
    const NAME: &str = "config";
    if !Path::new(config).exists() {
        report.add(
            Check::fail(NAME, format!("there is no {}", shown(Path::new(config))))
                .remedy("name the server's configuration with -config"),
        );
        return None;
    }
    let args = Args {
        config: config.to_owned(),
        ..Args::default()
    };
    let mut plan = match start::read_config(&args) {
        Ok(found) => start::plan(&args, found),
        Err(error) => {
            report.add(Check::fail(NAME, format!("{error:#}")));
            return None;
        }
    };
    plan.look();
    for finding in &plan.findings {
        let text = finding.to_string();
        report.add(if finding.fatal {
            Check::fail(NAME, text)
        } else {
            Check::warn(NAME, text)
        });
    }
    if plan.findings.is_empty() {
        let whole = shown(Path::new(config));
        report.add(Check::ok(NAME, format!("{whole}: nothing doubtful")));
    }
    Some(plan)
}
