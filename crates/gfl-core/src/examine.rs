//! A thorough look, for the administrator who asks what is wrong: reads the whole catalog, so not for every minute.

use crate::app::{App, Caller};
use crate::auth::Verb;
use crate::error::Result;
use gfl_api::path::FilePath;

/// What was found.
#[derive(Debug)]
pub struct Examination {
    /// Why the storage cannot be written; none when it can.
    pub storage_trouble: Option<String>,
    /// The catalog's engine.
    pub engine: &'static str,
    /// The version of its schema.
    pub schema: u32,
    /// What is damaged in it.
    pub catalog_damage: Vec<String>,
}

impl App {
    /// Looks at everything. Takes the right to administer.
    pub async fn examine(&self, caller: &Caller) -> Result<Examination> {
        caller.may(Verb::Admin, &FilePath::root())?;
        let (store, db) = (&self.shared.store, &self.shared.db);
        let storage = store.probe().await;
        Ok(Examination {
            storage_trouble: storage.err().map(|error| error.message().to_owned()),
            engine: db.engine(),
            schema: db.schema().await?,
            catalog_damage: db.check().await?,
        })
    }
}
