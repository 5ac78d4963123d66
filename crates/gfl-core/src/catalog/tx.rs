//! A running transaction, as its body sees it: statements, and after the first failed one nothing any more.

use super::door::DbError;
use super::value::{Row, Value};
use super::{postgres, sqlite};

/// A running transaction.
pub struct Tx<'c> {
    name: &'static str,
    handle: Handle<'c>,
    /// The first failed statement. From then on nothing runs and nothing commits.
    failed: Option<DbError>,
}

pub(super) enum Handle<'c> {
    Sqlite(sqlite::Handle<'c>),
    Postgres(postgres::Handle<'c>),
}

impl<'c> Tx<'c> {
    pub(super) fn new(name: &'static str, handle: Handle<'c>) -> Tx<'c> {
        Tx {
            name,
            handle,
            failed: None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The statement that failed, if one did.
    pub(super) fn into_failure(self) -> Option<DbError> {
        self.failed
    }

    /// Runs a statement that answers no rows; returns how many it changed.
    ///
    /// # Errors
    /// Any failure; the transaction can then only be rolled back.
    pub async fn exec(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.exec_text(sql, params).await
    }

    /// The same with SQL that was put together. For what does not know the tables one by one.
    pub(super) async fn exec_text(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.ready(params)?;
        let done = match &mut self.handle {
            Handle::Sqlite(handle) => handle.exec(sql, params),
            Handle::Postgres(handle) => handle.exec(sql, params).await,
        };
        self.note(done)
    }

    /// Runs a query and returns its rows, at most [`ROWS_MAX`].
    ///
    /// # Errors
    /// Any failure; the transaction can then only be rolled back.
    pub async fn rows(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.rows_text(sql, params).await
    }

    /// See [`Tx::exec_text`].
    pub(super) async fn rows_text(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Row>, DbError> {
        self.ready(params)?;
        let name = self.name;
        let done = match &mut self.handle {
            Handle::Sqlite(handle) => handle.rows(sql, params),
            Handle::Postgres(handle) => handle.rows(sql, params).await,
        };
        let rows = self.note(done)?;
        Ok(rows
            .into_iter()
            .map(|values| Row::new(name, values))
            .collect())
    }

    /// Runs a query that answers one row or none.
    ///
    /// # Errors
    /// Any failure, or a second row; the transaction can then only be rolled back.
    pub async fn row(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Option<Row>, DbError> {
        let mut rows = self.rows(sql, params).await?;
        if rows.len() > 1 {
            return self.note(Err(DbError::internal(format!(
                "{} rows where one was expected, in: {sql}",
                rows.len()
            ))));
        }
        Ok(rows.pop())
    }

    /// Runs several statements without parameters. For migrations.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.ready(&[])?;
        let done = match &mut self.handle {
            Handle::Sqlite(handle) => handle.batch(sql),
            Handle::Postgres(handle) => handle.batch(sql).await,
        };
        self.note(done)
    }

    fn ready(&mut self, params: &[Value]) -> Result<(), DbError> {
        if let Some(first) = &self.failed {
            let message = format!("an earlier statement failed: {}", first.message);
            return Err(DbError::new(first.kind, message).named(self.name));
        }
        if params
            .iter()
            .any(|v| matches!(v, Value::Text(text) if text.contains('\0')))
        {
            let message = "a text parameter contains NUL, which PostgreSQL cannot store";
            return self.note(Err(DbError::internal(message)));
        }
        Ok(())
    }

    fn note<T>(&mut self, done: Result<T, DbError>) -> Result<T, DbError> {
        done.map_err(|error| {
            let error = error.named(self.name);
            self.failed = Some(error.clone());
            error
        })
    }
}
