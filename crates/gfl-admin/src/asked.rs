//! What `stats` and `access` have in common: which days and which user, asked from the server that runs, or from the
//! catalog of one that does not.

use crate::{Failure, Result, place, ui};
use anyhow::Context;
use gfl_api::goflags::{Parsed, parse_int};
use gfl_api::v1::{day_number, day_text};
use gfl_core::Kind;
use gfl_core::auth::Caller;
use gfl_core::offline::Offline;
use gfl_core::settings::Settings;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The server keeps no more.
const DAYS_MAX: i64 = 3 * 366;

/// Which days, of whom, and where.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Days counted from 1970 in UTC, both included.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) user: Option<String>,
    pub(crate) settings: Settings,
}

impl Asked {
    /// Reads `-days`, `-user`, `-config` and `-meta-dir`.
    pub(crate) fn read(flags: &Parsed, usage: &'static str, days_default: i64) -> Result<Asked> {
        let days = number(flags, "days", days_default, DAYS_MAX, usage)?;
        let user = flags.value("user").filter(|user| !user.is_empty());
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let to = day_number(&today.to_string()).context("the clock is wrong")?;
        Ok(Asked {
            from: to - days + 1,
            to,
            user: user.map(str::to_owned),
            settings: place::settings(flags)?,
        })
    }

    /// What to GET from the server.
    pub(crate) fn target(&self, resource: &str, limit: usize) -> String {
        let (from, to) = (day_text(self.from), day_text(self.to));
        let mut target = format!("{resource}?limit={limit}&from={from}&to={to}");
        if let Some(user) = &self.user {
            target += &format!("&user={}", escaped(user));
        }
        target
    }

    /// Asks the catalog itself, and says so.
    pub(crate) fn offline<T>(
        &self,
        ask: impl AsyncFnOnce(&Offline, &Caller) -> gfl_core::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let answer = runtime.block_on(async {
            let catalog = Offline::open(&self.settings).await?;
            let answer = ask(&catalog, &Caller::administrator()).await;
            catalog.close().await;
            answer
        });
        let answer = answer.map_err(|error| explained(error, &self.settings))?;
        ui::err(format_args!(
            "note: no server runs; read from its catalog in {}",
            match &self.settings.database {
                Some(url) => url.to_string(),
                None => place::shown(&self.settings.meta_dir),
            }
        ));
        Ok(answer)
    }
}

/// A whole number from 1 to `max`.
pub(crate) fn number(
    flags: &Parsed,
    name: &str,
    default: i64,
    max: i64,
    usage: &'static str,
) -> Result<i64> {
    match flags.value(name).map(|text| (text, parse_int(text))) {
        None => Ok(default),
        Some((_, Ok(number))) if (1..=max).contains(&number) => Ok(number),
        Some((text, _)) => {
            let text = format!("invalid value {text:?} for flag -{name}: 1 to {max}");
            Err(Failure::Value(text, usage))
        }
    }
}

/// What to do about a catalog that cannot be read.
fn explained(error: gfl_core::Error, settings: &Settings) -> anyhow::Error {
    let folder = place::shown(&settings.meta_dir);
    let kind = error.kind();
    let error = anyhow::Error::new(error);
    match kind {
        Kind::Busy => error.context(format!(
            "the server with {folder} runs, but its socket cannot be asked; its log tells why"
        )),
        Kind::NotFound => error.context(format!(
            "{folder}: name the server's configuration with -config, or its meta_dir with -meta-dir"
        )),
        _ => match &settings.database {
            Some(url) => error.context(url.to_string()),
            None => error.context(folder),
        },
    }
}

/// Fit for a query.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |b: u8| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("a b/ü&"), "a%20b%2F%C3%BC%26");
        let asked = Asked {
            from: 0,
            to: 1,
            user: Some("a&b".into()),
            settings: Settings::new("", ""),
        };
        assert_eq!(
            asked.target("/v1/stats", 5),
            "/v1/stats?limit=5&from=1970-01-01&to=1970-01-02&user=a%26b"
        );
    }
}
