//! The licences of everything that is linked into the programs: they ask that their text goes along.

use crate::{deps, tools};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// How files with licences are called.
const NAMES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// Every text once, below the crates it belongs to.
pub(super) fn text(programs: &[&str]) -> Result<String> {
    let metadata = tools::metadata()?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in deps::linked(&metadata, programs) {
        // Ours have no source.
        if package["source"].is_null() {
            continue;
        }
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let shown = format!("{} {} ({})", word("name"), word("version"), word("license"));
        let manifest = word("manifest_path");
        let found = licences(
            Path::new(&manifest)
                .parent()
                .context("a manifest has a folder")?,
        )?;
        if found.is_empty() {
            without.push(shown.clone());
        }
        for text in found {
            texts.entry(text).or_default().push(shown.clone());
        }
    }
    let mut all = String::from("GoFlux Lite is made with these libraries.\n");
    if !without.is_empty() {
        let _ = writeln!(
            all,
            "\nWithout a file of their own:\n  {}",
            without.join("\n  ")
        );
    }
    for (text, packages) in texts {
        let _ = writeln!(
            all,
            "\n{}\n  {}\n\n{text}",
            "=".repeat(72),
            packages.join("\n  ")
        );
    }
    Ok(all)
}

/// The licence texts in a crate's folder, in the order of their names.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = super::file_name(&path).to_lowercase();
        if path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_is_named_and_its_licence_told() {
        let text = text(&["gfl-server"]).unwrap();
        for name in ["tokio ", "hyper ", "rusqlite ", "blake3 "] {
            assert!(text.contains(&format!("\n  {name}")), "{name}");
        }
        assert!(text.contains("Permission is hereby granted, free of charge"));
        assert!(text.contains("Apache License"));
        for not_linked in ["proptest ", "gfl-core ", "tempfile "] {
            assert!(!text.contains(&format!("\n  {not_linked}")), "{not_linked}");
        }
    }
}
