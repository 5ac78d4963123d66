//! Whether the catalog is whole: asked from the server that runs, else read.

use super::report::Check;
use super::server::Server;
use anyhow::Context;
use gfl_core::Kind;
use gfl_core::auth::Caller;
use gfl_core::offline::Offline;
use gfl_core::settings::Settings;
use gfl_server::start::{Plan, catalog_place};

const NAME: &str = "catalog";

/// Looks at it.
pub(super) fn look(plan: &Plan, server: &Server) -> Vec<Check> {
    match server {
        Server::Runs(check) => vec![judge(
            &check.catalog_damage,
            &format!("{}, schema {}", check.catalog_engine, check.catalog_schema),
        )],
        Server::Stopped => vec![offline(&plan.settings)],
        Server::Unknown => Vec::new(),
    }
}

fn judge(damage: &[String], what: &str) -> Check {
    match damage.first() {
        None => Check::ok(NAME, format!("{what}: whole")),
        Some(first) => {
            let text = format!(
                "{what}: damaged in {} places, the first: {}",
                damage.len(),
                first.escape_debug()
            );
            Check::fail(NAME, text).remedy(
                "stop the server, copy meta_dir away, and restore catalog.db from a backup; the files themselves are \
                 in storage_dir as they were",
            )
        }
    }
}

fn offline(settings: &Settings) -> Check {
    let failed = |error: &anyhow::Error| Check::fail(NAME, format!("{error:#}"));
    match read(settings) {
        Ok(damage) => judge(&damage, &catalog_place(settings)),
        Err(error) => match error.downcast_ref::<gfl_core::Error>().map(|e| e.kind()) {
            Some(Kind::NotFound) => Check::ok(NAME, "there is none yet; the first start makes it"),
            Some(Kind::Busy) => failed(&error)
                .remedy("a server runs, and its socket cannot be asked; its log tells why"),
            Some(Kind::Unavailable) => failed(&error)
                .remedy("what keeps the server from its database stands above, under config"),
            _ => failed(&error),
        },
    }
}

fn read(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let catalog = Offline::open(settings).await?;
        let damage = catalog.check(&Caller::administrator()).await;
        catalog.close().await;
        Ok(damage?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn damage_fails_and_nothing_is_made_by_looking() {
        assert_eq!(judge(&[], "x").state(), State::Ok);
        let told = judge(&["row 7 missing\x1b".into()], "x");
        assert_eq!(told.state(), State::Fail);
        assert!(!told.brief().contains('\x1b'), "{}", told.brief());

        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new("", dir.path());
        assert_eq!(offline(&settings).state(), State::Ok, "none yet");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(dir.path().join("catalog.db"), vec![7; 9000]).unwrap();
        assert_eq!(offline(&settings).state(), State::Fail, "no database");
    }
}
