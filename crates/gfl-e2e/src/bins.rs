//! Where the binaries under test are: beside the test executable, so that a profile tests itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

const NAMES: [&str; 3] = ["gfl-server", "gfl", "gfl-admin"];

/// Fixes the folder of the binaries (xtask, which itself runs from another profile).
pub fn set_folder(folder: &Path) {
    let _already_set = FOLDER.set(folder.to_path_buf());
}

/// The program `name`, ready to be started. Builds all of them once when one is missing.
pub fn path(name: &str) -> PathBuf {
    FOLDER.get_or_init(find).join(name)
}

fn find() -> PathBuf {
    let exe = std::env::current_exe().expect("the test knows its own path");
    // target/<profile>/deps/it-… for a test, target/<profile>/xtask for a program.
    let here = exe.parent().expect("an executable has a folder");
    let folder = if here.ends_with("deps") {
        here.parent().unwrap_or(here)
    } else {
        here
    };
    if NAMES.iter().any(|n| !folder.join(n).is_file()) {
        build(folder);
    }
    folder.to_path_buf()
}

/// `cargo test -p gfl-e2e` alone builds no binaries: do it here, into the same profile.
fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--workspace", "--bins"]);
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    match folder.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    let status = command
        .current_dir(workspace())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the binaries under test do not build");
}

/// The root of the repository.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("crates/gfl-e2e lies two levels deep")
        .to_path_buf()
}
