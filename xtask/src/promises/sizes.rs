//! Every program stays small: measured as it is shipped.

use super::Measured;
use crate::tools;
use anyhow::{Context, Result};

const MEGABYTES_MAX: f64 = 20.0;

pub(super) fn measure() -> Result<Vec<Measured>> {
    let folder = tools::build("dist")?;
    ["gfl-server", "gfl", "gfl-admin"]
        .iter()
        .map(|name| {
            let file = folder.join(name);
            let size = file
                .metadata()
                .with_context(|| format!("{}", file.display()))?
                .len();
            Ok(Measured::below(
                format!("size of {name}"),
                size as f64 / 1e6,
                MEGABYTES_MAX,
                "MB",
            ))
        })
        .collect()
}
