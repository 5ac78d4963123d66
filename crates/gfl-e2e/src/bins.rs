//! Where the binaries under test are: beside the test executable, so that a profile tests itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Programs that were missing, and whether they could be built: each is tried once.
static BUILT: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

/// Fixes the folder of the binaries (xtask, which itself runs from another profile).
pub fn set_folder(folder: &Path) {
    let _already_set = FOLDER.set(folder.to_path_buf());
}

/// The program `name`, ready to be started; built when it is missing.
pub fn path(name: &str) -> PathBuf {
    let folder = FOLDER.get_or_init(beside_us);
    let program = folder.join(name);
    if !program.is_file() {
        let built = {
            let mut built = BUILT.lock().expect("no holder panics");
            *built
                .entry(name.to_owned())
                .or_insert_with(|| build(folder, name))
        };
        assert!(built, "{name} does not build");
    }
    program
}

fn beside_us() -> PathBuf {
    let exe = std::env::current_exe().expect("the test knows its own path");
    // target/<profile>/deps/it-… for a test, target/<profile>/xtask for a program.
    let here = exe.parent().expect("an executable has a folder");
    let folder = if here.ends_with("deps") {
        here.parent().unwrap_or(here)
    } else {
        here
    };
    folder.to_path_buf()
}

/// `cargo test -p gfl-e2e` alone builds no binaries: do it here, into the same profile.
fn build(folder: &Path, name: &str) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "-p", name]);
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
    status.success()
}

/// The root of the repository.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("crates/gfl-e2e lies two levels deep")
        .to_path_buf()
}
