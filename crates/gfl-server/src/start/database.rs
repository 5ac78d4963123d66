//! Whether the catalog's PostgreSQL can be used: where its address is found, and what it is like there. Looks and
//! changes nothing. No password gets into what is said.

use super::Plan;
use super::finding::Finding;
use super::folders::shown;
use gfl_api::config::{DatabasePlace, ServerConfig};
use gfl_core::catalog::{DbError, Examined, MIGRATIONS, PostgresUrl, Trouble};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SETTING: &str = "server.database";
const CONNECTIONS: &str = "server.database_connections_max";
/// One for a transaction, and one to ask what became of it.
const CONNECTIONS_MIN: u32 = 2;
const CONNECTIONS_MOST: u32 = 1_000;
/// The oldest that its makers still looked after when this was written.
const VERSION_MIN: i64 = 140_000;
/// Connections that are not the pool's: the one that keeps other servers off.
const CONNECTIONS_BESIDE: i64 = 1;
/// Clocks that differ by less are right enough.
const CLOCK_MS_MAX: u64 = 60_000;
/// A file with a password is closed to all but these.
const OWNER_AND_GROUP: u32 = 0o640;

/// How many connections there may be.
pub(super) fn connections(server: &ServerConfig, findings: &mut Vec<Finding>) -> usize {
    let wanted = server.database.connections_max;
    let fits = wanted.clamp(CONNECTIONS_MIN, CONNECTIONS_MOST);
    if fits != wanted {
        let why = format!("is not from {CONNECTIONS_MIN} to {CONNECTIONS_MOST}");
        findings.push(Finding::error(CONNECTIONS, &wanted.to_string(), why));
    }
    usize::try_from(fits).unwrap_or(usize::MAX)
}

/// Finds the address, puts it into the settings, and looks what is there.
pub(super) fn look(plan: &mut Plan) -> Vec<Finding> {
    let place = &plan.server.database.place;
    if *place == DatabasePlace::MetaDir {
        return moved_away(plan).into_iter().collect();
    }
    let url = match configured(&plan.server) {
        Ok(Some(url)) => url,
        Ok(None) => return Vec::new(),
        Err(finding) => return vec![finding],
    };
    let mut found: Vec<Finding> = open_to_others(plan, &url).into_iter().collect();
    let shown = url.to_string();
    if url.is_open_on_the_way() {
        let why = "whoever sits on the way can pose as the database and read what is sent; use sslmode=verify-full";
        found.push(Finding::warning(SETTING, &shown, why));
    }
    match examined(&url) {
        Ok(Ok(there)) => found.extend(judge(&shown, &there, now_ms(), plan)),
        Ok(Err(error)) => found.push(Finding::error(SETTING, &shown, unreachable(&url, &error))),
        Err(error) => found.push(Finding::error(SETTING, &shown, error.to_string())),
    }
    found.extend(two_catalogs(plan));
    plan.settings.database = Some(url);
    found
}

/// The database that is configured; none for a file in `meta_dir`.
///
/// # Errors
/// Its address is not found, or is none.
pub fn configured(server: &ServerConfig) -> Result<Option<PostgresUrl>, Finding> {
    let place = &server.database.place;
    if *place == DatabasePlace::MetaDir {
        return Ok(None);
    }
    let mut url = address(place).map_err(|why| Finding::error(SETTING, &place.to_string(), why))?;
    let ca_file = &server.database.ca_file;
    if !ca_file.is_empty() {
        url.set_ca_file(ca_file.into());
    }
    Ok(Some(url))
}

/// The URL, from where it is found.
fn address(place: &DatabasePlace) -> Result<PostgresUrl, String> {
    let text = match place {
        DatabasePlace::MetaDir => String::new(),
        DatabasePlace::Url(url) => url.clone(),
        DatabasePlace::Env(name) => std::env::var(name)
            .map_err(|_| "this variable is not in the environment, set it to the URL".to_owned())?,
        DatabasePlace::File(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("the file with the URL cannot be read: {error}"))?,
    };
    text.trim().parse().map_err(|error| format!("{error}"))
}

fn examined(url: &PostgresUrl) -> std::io::Result<Result<Examined, DbError>> {
    let look = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(url.examine()))
    };
    // On a thread of its own: whoever asks may be within a runtime already.
    std::thread::scope(|scope| match scope.spawn(look).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// What went wrong, and what to do.
fn unreachable(url: &PostgresUrl, error: &DbError) -> String {
    let (user, database) = (url.user(), url.database());
    let remedy = match error.trouble {
        Some(Trouble::Refused) => {
            "start PostgreSQL there, and let it listen on that address (listen_addresses)".to_owned()
        }
        Some(Trouble::NoHost) => "check the host's name".to_owned(),
        Some(Trouble::Silent) => "check the address, and what a firewall lets through".to_owned(),
        Some(Trouble::Password) => {
            format!("check the password of the role {user} (ALTER ROLE … PASSWORD)")
        }
        Some(Trouble::Forbidden) => {
            format!("let the role {user} in from this machine (pg_hba.conf, GRANT CONNECT)")
        }
        Some(Trouble::NoDatabase) => {
            format!("make it: CREATE DATABASE {database} OWNER {user} ENCODING 'UTF8'")
        }
        Some(Trouble::NoTls) => {
            "switch TLS on there (ssl = on), or use another sslmode".to_owned()
        }
        Some(Trouble::Certificate) => {
            "name who vouches for it in server.database_ca_file, and the host as its certificate does".to_owned()
        }
        Some(Trouble::Full) => "raise max_connections there, or the role's limit".to_owned(),
        Some(Trouble::ReadOnly) => "name the server that takes writes".to_owned(),
        Some(Trouble::Restarting) => "try again when it has started".to_owned(),
        Some(Trouble::Taken | Trouble::Lost) | None => "see the log of PostgreSQL".to_owned(),
    };
    format!("{}; {remedy}", error.message)
}

/// What is doubtful about a PostgreSQL that answers.
fn judge(shown: &str, there: &Examined, now_ms: u64, plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |why: String| found.push(Finding::error(SETTING, shown, why));
    if there.version < VERSION_MIN {
        error(format!(
            "PostgreSQL {} is too old, use {} or later",
            there.version_text,
            VERSION_MIN / 10_000
        ));
    }
    if there.encoding != "UTF8" {
        error(format!(
            "its encoding is {}; make a database with ENCODING 'UTF8' TEMPLATE template0",
            there.encoding
        ));
    }
    if there.standby {
        error(
            "is a standby, which takes no writes; name the primary, or both as HOST1,HOST2".into(),
        );
    } else if there.read_only {
        error(
            "takes no writes: default_transaction_read_only is on; switch it off for this role or database"
                .into(),
        );
    }
    match &there.schema {
        None => error(
            "its search_path leads to no schema; CREATE SCHEMA, or ALTER ROLE … SET search_path"
                .into(),
        ),
        Some(schema) if !there.may_create => error(format!(
            "tables may not be made in its schema {schema}; GRANT CREATE, USAGE ON SCHEMA {schema} to the role"
        )),
        Some(schema) if !there.owns_tables => error(format!(
            "the tables in its schema {schema} belong to another role; use that one, or ALTER TABLE … OWNER TO"
        )),
        Some(_) => {}
    }
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    if there.migration > known {
        error(format!(
            "its tables were made by a newer program (schema {}, this one knows {known}); use that one, or restore the \
             backup made before the update",
            there.migration
        ));
    }
    let mut warning = |why: String| found.push(Finding::warning(SETTING, shown, why));
    if !there.syncs {
        warning(
            "fsync or full_page_writes is off there: what is acknowledged does not survive a power cut".into(),
        );
    }
    let clock = u64::try_from(there.clock_ms).unwrap_or(0);
    if clock.abs_diff(now_ms) > CLOCK_MS_MAX {
        warning(format!(
            "its clock differs from this machine's by {} s; synchronise the two",
            clock.abs_diff(now_ms) / 1000
        ));
    }
    let most = i64::from(plan.server.database.connections_max) + CONNECTIONS_BESIDE;
    let role = there.role_connections_max;
    let limit = if role >= 0 {
        role.min(there.connections_max)
    } else {
        there.connections_max
    };
    if most > limit {
        let why = format!(
            "with the one that keeps other servers off that is {most} connections, and PostgreSQL takes {limit}; lower \
             it, or raise max_connections there"
        );
        found.push(Finding::warning(
            CONNECTIONS,
            &(most - CONNECTIONS_BESIDE).to_string(),
            why,
        ));
    }
    found
}

/// Whoever can read the file that the URL stands in has its password.
fn open_to_others(plan: &Plan, url: &PostgresUrl) -> Option<Finding> {
    if !url.has_password() {
        return None;
    }
    let file: &Path = match &plan.server.database.place {
        DatabasePlace::File(path) => Path::new(path),
        DatabasePlace::Url(_) => &plan.config_path,
        DatabasePlace::Env(_) | DatabasePlace::MetaDir => return None,
    };
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & !OWNER_AND_GROUP != 0 && mode & 0o007 != 0).then(|| {
        let file = shown(file);
        let why = format!(
            "holds the database's password and has mode {mode:04o}, others can read it; chmod 600 it"
        );
        Finding::warning(SETTING, &file, why)
    })
}

/// A catalog in `meta_dir` beside the one in PostgreSQL: one of the two is not the one that is meant.
fn two_catalogs(plan: &Plan) -> Option<Finding> {
    let file = plan.settings.meta_dir.join("catalog.db");
    file.exists().then(|| {
        let why = "is a catalog that would not be used; move it into PostgreSQL with gfl-admin migrate postgres, or \
                   move the file away to do without its history";
        Finding::error(SETTING, &shown(&file), why)
    })
}

/// A catalog that was moved into PostgreSQL, and a configuration that knows nothing of it.
fn moved_away(plan: &Plan) -> Option<Finding> {
    let meta_dir = &plan.settings.meta_dir;
    let moved = meta_dir.join("catalog.db.migrated");
    (moved.exists() && !meta_dir.join("catalog.db").exists()).then(|| {
        let why = "the catalog was moved into PostgreSQL; name that in server.database, or bring it back with \
                   gfl-admin migrate sqlite";
        Finding::error(SETTING, &shown(&moved), why)
    })
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
