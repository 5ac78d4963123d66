//! The digest of a folder: every relative path, size and content, independent of the order on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// BLAKE3 over all paths and contents, hex.
    pub digest: String,
}

/// Reads everything below `root`. Names that start with `.gfl` directly in it are the server's own.
pub fn summary(root: &Path) -> io::Result<Summary> {
    let mut files = files(root)?;
    files.sort();
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for file in &files {
        let name = file.strip_prefix(root).expect("was found below it");
        let path = name.as_os_str().as_encoded_bytes();
        let source = fs::File::open(file)?;
        let size = source.metadata()?.len();
        bytes += size;
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path);
        hasher.update(&size.to_le_bytes());
        hasher.update(crate::data::b3_of(source)?.as_bytes());
    }
    let digest = hasher.finalize().to_hex().to_string();
    Ok(Summary {
        files: files.len() as u64,
        bytes,
        digest,
    })
}

/// All regular files below `root`, unsorted; symlinks are not followed.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if dir == root && entry.file_name().as_encoded_bytes().starts_with(b".gfl") {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
