//! PostgreSQL behind the SQL door (being written).

use std::sync::Arc;

use super::door::{Counters, DbError, DbErrorKind, Mode, Work};
use super::value::Value;

pub(super) struct Postgres;

pub(super) struct Handle<'c>(std::marker::PhantomData<&'c ()>);

fn unwritten() -> DbError {
    DbError::new(
        DbErrorKind::Unavailable,
        "PostgreSQL is not available in this build",
    )
}

impl Postgres {
    pub(super) async fn open(_: &str, _: usize, _: Arc<Counters>) -> Result<Postgres, DbError> {
        Err(unwritten())
    }
    pub(super) async fn run(
        &self,
        _: Mode,
        _: &'static str,
        _: Box<dyn Work>,
    ) -> Result<(), DbError> {
        Err(unwritten())
    }
    pub(super) fn close(&self) {}
}

impl Handle<'_> {
    pub(super) async fn exec(&mut self, _: &str, _: &[Value]) -> Result<u64, DbError> {
        Err(unwritten())
    }
    pub(super) async fn rows(&mut self, _: &str, _: &[Value]) -> Result<Vec<Vec<Value>>, DbError> {
        Err(unwritten())
    }
    pub(super) async fn batch(&mut self, _: &str) -> Result<(), DbError> {
        Err(unwritten())
    }
}
