//! What a PostgreSQL is like, asked before it is used: whatever would go wrong later is to be said at the start.
//! Looks and changes nothing; judges nothing.

use std::time::Duration;

use tokio::time::timeout;

use super::super::door::DbError;
use super::driver::Row;
use super::errors::{failed, silent, unreachable};
use super::target::PostgresUrl;

/// Everything together must be answered within this time.
const ANSWER_S_MAX: u64 = 10;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// As a number: 150004 is 15.4.
    pub version: i64,
    /// In its own words.
    pub version_text: String,
    /// `UTF8`, we hope.
    pub encoding: String,
    /// It repeats what another server does.
    pub standby: bool,
    /// Transactions are read-only unless they say otherwise.
    pub read_only: bool,
    /// Where tables are made and looked for; none if the search path leads nowhere.
    pub schema: Option<String>,
    /// Tables may be made there.
    pub may_create: bool,
    /// Our tables belong to this role. True when there are none.
    pub owns_tables: bool,
    /// The last migration; 0 when there are no tables.
    pub migration: u32,
    /// Sessions that the server takes from ordinary roles.
    pub connections_max: i64,
    /// Sessions that this role may have; below 0 for any number.
    pub role_connections_max: i64,
    /// What is committed is written to the disk.
    pub syncs: bool,
    /// This connection is encrypted.
    pub encrypted: bool,
    /// Its clock, unix ms.
    pub clock_ms: i64,
}

const LOOK: &str = "\
SELECT current_setting('server_version_num')::bigint,
  current_setting('server_version'),
  current_setting('server_encoding'),
  pg_is_in_recovery(),
  current_setting('default_transaction_read_only') = 'on',
  current_schema()::text,
  COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false),
  COALESCE((SELECT bool_and(pg_has_role(tableowner, 'USAGE')) FROM pg_tables
            WHERE schemaname = current_schema() AND tablename IN ('gfl_schema', 'entry', 'version')), true),
  to_regclass('gfl_schema') IS NOT NULL,
  current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
  (SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = current_user),
  current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
  COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
  (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const MIGRATION: &str = "SELECT COALESCE(MAX(version), 0)::bigint FROM gfl_schema";

impl PostgresUrl {
    /// Connects once and looks.
    ///
    /// # Errors
    /// With its [`Trouble`](super::super::error::Trouble) where it cannot be reached.
    pub async fn examine(&self) -> Result<Examined, DbError> {
        let look = async {
            let connected = self.config.connect(self.trust.connector()?).await;
            let (client, connection) = connected.map_err(|error| unreachable(&error))?;
            let asked = async {
                let row = client.query_one(LOOK, &[]).await?;
                let migrated: bool = row.try_get(8)?;
                let migration: i64 = match migrated {
                    true => client.query_one(MIGRATION, &[]).await?.try_get(0)?,
                    false => 0,
                };
                Examined::of(&row, u32::try_from(migration).unwrap_or(u32::MAX))
            };
            tokio::pin!(asked);
            tokio::select! {
                found = &mut asked => found.map_err(|error| failed(&error)),
                ended = connection => Err(match ended {
                    Ok(()) => DbError::internal("PostgreSQL ended the connection"),
                    Err(error) => unreachable(&error),
                }),
            }
        };
        let found = timeout(Duration::from_secs(ANSWER_S_MAX), look).await;
        found.unwrap_or_else(|_| Err(silent("a new connection", ANSWER_S_MAX)))
    }
}

impl Examined {
    fn of(row: &Row, migration: u32) -> Result<Examined, super::driver::Error> {
        Ok(Examined {
            version: row.try_get(0)?,
            version_text: row.try_get(1)?,
            encoding: row.try_get(2)?,
            standby: row.try_get(3)?,
            read_only: row.try_get(4)?,
            schema: row.try_get(5)?,
            may_create: row.try_get(6)?,
            owns_tables: row.try_get(7)?,
            migration,
            connections_max: row.try_get(9)?,
            role_connections_max: row.try_get::<_, Option<i64>>(10)?.unwrap_or(-1),
            syncs: row.try_get(11)?,
            encrypted: row.try_get(12)?,
            clock_ms: row.try_get(13)?,
        })
    }
}
