//! What crosses the SQL door: values going in, rows coming out.
//!
//! Only four types exist, because only these four mean the same in SQLite and PostgreSQL. Dates
//! are BIGINT (epoch), flags are BIGINT 0/1, names and hashes are bytes. Must not know an engine
//! or a table.

use super::door::DbError;

/// A portable SQL value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL of any type.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT; must not contain NUL, which PostgreSQL cannot store.
    Text(String),
    /// BLOB or BYTEA (`%BYTES%` in migrations).
    Bytes(Vec<u8>),
}

impl Value {
    /// A `u64` as BIGINT.
    ///
    /// # Errors
    /// `DbErrorKind::Internal` above `i64::MAX`: no size or count here gets that large honestly.
    pub fn u64(n: u64) -> Result<Value, DbError> {
        i64::try_from(n)
            .map(Value::Int)
            .map_err(|_| DbError::internal(format!("{n} does not fit in BIGINT")))
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Int(_) => "an integer",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
        }
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Value {
        Value::Int(i64::from(n))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Int(i64::from(flag))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::Text(text.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Bytes(bytes)
    }
}

impl From<&Vec<u8>> for Value {
    fn from(bytes: &Vec<u8>) -> Value {
        Value::Bytes(bytes.clone())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// One row of an answer. Columns are read by position, from 0.
///
/// Every accessor fails with `DbErrorKind::Internal`, and never panics, when the column does not
/// exist or holds another type: both mean that the query and its reader disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    tx: &'static str,
    values: Box<[Value]>,
}

impl Row {
    pub(super) fn new(tx: &'static str, values: Vec<Value>) -> Row {
        Row {
            tx,
            values: values.into_boxed_slice(),
        }
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// A BIGINT that is never NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn int(&self, column: usize) -> Result<i64, DbError> {
        self.opt_int(column)?
            .ok_or_else(|| self.mismatch(column, "an integer"))
    }

    /// A BIGINT or NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, DbError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Int(n) => Ok(Some(*n)),
            _ => Err(self.mismatch(column, "an integer")),
        }
    }

    /// A BIGINT that is a size, count or version: never NULL, never negative.
    ///
    /// # Errors
    /// No such column, another type, or a negative number.
    pub fn u64(&self, column: usize) -> Result<u64, DbError> {
        self.opt_u64(column)?
            .ok_or_else(|| self.mismatch(column, "an integer"))
    }

    /// Like [`Row::u64`], or NULL.
    ///
    /// # Errors
    /// No such column, another type, or a negative number.
    pub fn opt_u64(&self, column: usize) -> Result<Option<u64>, DbError> {
        let Some(n) = self.opt_int(column)? else {
            return Ok(None);
        };
        u64::try_from(n)
            .map(Some)
            .map_err(|_| self.mismatch(column, "an unsigned integer"))
    }

    /// A BIGINT that is also a `u32` (a mode, a part number): never NULL.
    ///
    /// # Errors
    /// No such column, another type, or out of range.
    pub fn u32(&self, column: usize) -> Result<u32, DbError> {
        u32::try_from(self.int(column)?).map_err(|_| self.mismatch(column, "a 32-bit integer"))
    }

    /// A flag stored as BIGINT 0/1 (any other number is true), or a boolean expression.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn bool(&self, column: usize) -> Result<bool, DbError> {
        Ok(self.int(column)? != 0)
    }

    /// A TEXT that is never NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn text(&self, column: usize) -> Result<String, DbError> {
        self.opt_text(column)?
            .ok_or_else(|| self.mismatch(column, "text"))
    }

    /// A TEXT or NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn opt_text(&self, column: usize) -> Result<Option<String>, DbError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.clone())),
            _ => Err(self.mismatch(column, "text")),
        }
    }

    /// Bytes that are never NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, DbError> {
        self.opt_bytes(column)?
            .ok_or_else(|| self.mismatch(column, "bytes"))
    }

    /// Bytes or NULL.
    ///
    /// # Errors
    /// No such column, or another type.
    pub fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, DbError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.clone())),
            _ => Err(self.mismatch(column, "bytes")),
        }
    }

    /// Bytes of a fixed length, such as a hash: never NULL.
    ///
    /// # Errors
    /// No such column, another type, or another length.
    pub fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], DbError> {
        self.opt_array(column)?
            .ok_or_else(|| self.mismatch(column, "bytes"))
    }

    /// Bytes of a fixed length, or NULL.
    ///
    /// # Errors
    /// No such column, another type, or another length.
    pub fn opt_array<const N: usize>(&self, column: usize) -> Result<Option<[u8; N]>, DbError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => match bytes.as_slice().try_into() {
                Ok(array) => Ok(Some(array)),
                Err(_) => Err(self.fault(format!(
                    "column {column} holds {} bytes where {N} were expected",
                    bytes.len()
                ))),
            },
            _ => Err(self.mismatch(column, "bytes")),
        }
    }

    fn at(&self, column: usize) -> Result<&Value, DbError> {
        self.values.get(column).ok_or_else(|| {
            self.fault(format!(
                "no column {column} in a row of {}",
                self.values.len()
            ))
        })
    }

    fn mismatch(&self, column: usize, expected: &str) -> DbError {
        // The value itself stays out of the message: it may be a hash or a name.
        let found = self.values.get(column).map_or("nothing", Value::type_name);
        self.fault(format!(
            "column {column} holds {found} where {expected} was expected"
        ))
    }

    fn fault(&self, message: String) -> DbError {
        DbError::internal(message).named(self.tx)
    }
}
