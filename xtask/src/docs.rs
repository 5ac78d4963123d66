//! `cargo xtask docs`: the pages that are made from tables in the code. A test fails while one is stale.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Writes every generated page.
pub(crate) fn run() -> Result<()> {
    for (path, text) in pages() {
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn pages() -> [(PathBuf, String); 1] {
    let docs = gfl_e2e::bins::workspace().join("docs");
    [(docs.join("config.md"), gfl_api::config::keys::markdown())]
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_pages_are_current() {
        for (path, text) in super::pages() {
            let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                on_disk == text,
                "{} is stale: run `cargo xtask docs`",
                path.display()
            );
        }
    }
}
