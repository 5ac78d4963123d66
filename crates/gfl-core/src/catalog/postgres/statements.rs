//! Statements of one transaction, and values on their way in and out.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio::time::timeout;

use super::super::door::{DbError, ROWS_MAX};
use super::super::value::Value;
use super::driver::Row;
use super::driver::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use super::errors::{failed, silent};
use super::pooled::Transaction;

/// A running transaction.
pub(in super::super) struct Handle<'c> {
    transaction: &'c Transaction<'c>,
    limit: Duration,
}

impl<'c> Handle<'c> {
    /// Statements that have no answer after so many seconds have failed.
    pub(super) fn new(transaction: &'c Transaction<'c>, seconds: u64) -> Handle<'c> {
        let limit = Duration::from_secs(seconds);
        Handle { transaction, limit }
    }

    pub(in super::super) async fn exec(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<u64, DbError> {
        self.in_time(async {
            let statement = self.transaction.prepare_cached(sql).await;
            let statement = statement.map_err(|error| failed(&error))?;
            fits(statement.params(), params)?;
            let done = self.transaction.execute_raw(&statement, params).await;
            done.map_err(|error| failed(&error))
        })
        .await
    }

    pub(in super::super) async fn rows(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Vec<Value>>, DbError> {
        self.in_time(async {
            let statement = self.transaction.prepare_cached(sql).await;
            let statement = statement.map_err(|error| failed(&error))?;
            fits(statement.params(), params)?;
            let rows = self.transaction.query_raw(&statement, params).await;
            let mut rows = std::pin::pin!(rows.map_err(|error| failed(&error))?);
            let mut answer = Vec::new();
            while let Some(row) = rows.try_next().await.map_err(|error| failed(&error))? {
                if answer.len() == ROWS_MAX {
                    let message = format!("more than {ROWS_MAX} rows; a LIMIT is missing");
                    return Err(DbError::internal(message));
                }
                let values = (0..row.len()).map(|column| value(&row, column));
                answer.push(values.collect::<Result<_, _>>()?);
            }
            Ok(answer)
        })
        .await
    }

    pub(in super::super) async fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let done = self.transaction.batch_execute(sql);
        self.in_time(async { done.await.map_err(|error| failed(&error)) })
            .await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let done = timeout(self.limit, work).await;
        done.unwrap_or_else(|_| Err(silent("a statement", self.limit.as_secs())))
    }
}

/// The driver panics on a wrong number of parameters and hides what is wrong with a type.
fn fits(wanted: &[Type], given: &[Value]) -> Result<(), DbError> {
    if wanted.len() != given.len() {
        let message = format!("{} parameters given, {} used", given.len(), wanted.len());
        return Err(DbError::internal(message));
    }
    for (index, (wanted, given)) in wanted.iter().zip(given).enumerate() {
        let fits = match given {
            Value::Null => true,
            Value::Int(n) => {
                *wanted == Type::INT8 || (*wanted == Type::INT4 && i32::try_from(*n).is_ok())
            }
            Value::Text(_) => matches!(*wanted, Type::TEXT | Type::VARCHAR),
            Value::Bytes(_) => *wanted == Type::BYTEA,
        };
        if !fits {
            let message = format!(
                "parameter ${} is {} and does not fit {wanted}; a CAST may be missing",
                index + 1,
                given.type_name(),
            );
            return Err(DbError::internal(message));
        }
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(
        &self,
        wanted: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(n) if *wanted == Type::INT4 => i32::try_from(*n)?.to_sql(wanted, out),
            Value::Int(n) => n.to_sql(wanted, out),
            Value::Text(text) => text.to_sql(wanted, out),
            Value::Bytes(bytes) => bytes.to_sql(wanted, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // Depends on the variant; `fits` has looked at both.
    }

    to_sql_checked!();
}

fn value(row: &Row, column: usize) -> Result<Value, DbError> {
    fn get<'r, T>(row: &'r Row, column: usize) -> Result<Value, DbError>
    where
        T: FromSql<'r> + Into<Value>,
    {
        let value: Option<T> = row.try_get(column).map_err(|error| failed(&error))?;
        Ok(value.into())
    }
    let Some(definition) = row.columns().get(column) else {
        return Ok(Value::Null);
    };
    match *definition.type_() {
        Type::INT8 => get::<i64>(row, column),
        Type::INT4 => {
            let value: Option<i32> = row.try_get(column).map_err(|error| failed(&error))?;
            Ok(value.map(i64::from).into())
        }
        Type::BOOL => get::<bool>(row, column),
        Type::TEXT | Type::VARCHAR => get::<String>(row, column),
        Type::BYTEA => get::<Vec<u8>>(row, column),
        ref other => Err(DbError::internal(format!(
            "column {column} is {other}; cast it to BIGINT, TEXT or BYTEA"
        ))),
    }
}
