//! Cargo and foreign programs: found, installed when this is a Debian system and we are root, or not there.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The cargo that runs us, in the root of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(args)
        .current_dir(gfl_e2e::bins::workspace())
        .stdin(Stdio::null());
    command
}

/// Runs to the end with our output; an error names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command
        .status()
        .with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs to the end and returns stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command
        .output()
        .with_context(|| format!("starting {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `cargo metadata` for this machine, from the committed lock file.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .context("rustc names no host")?;
    let args = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ];
    serde_json::from_str(&output(&mut cargo(&args))?).context("reading cargo metadata")
}

/// Where cargo builds, whatever decided that.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    let dir = metadata["target_directory"]
        .as_str()
        .context("cargo metadata has no target")?;
    Ok(PathBuf::from(dir))
}

/// Builds the three programs in a profile and returns their folder.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    let mut args = vec!["build", "--locked", "--profile", profile];
    args.extend(["-p", "gfl-server", "-p", "gfl", "-p", "gfl-admin"]);
    run(&mut cargo(&args))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target_dir()?.join(folder))
}

/// A program in PATH or in the places where administrators' programs are.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|d| d.join(program))
        .find(|p| p.is_file())
}

/// The program, installed from this Debian package if need be. The error is the reason why not.
pub(crate) fn find_or_install(program: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    install(package)?;
    find(program).ok_or_else(|| format!("package {package} brought no {program}"))
}

/// Installs a Debian package, when that is ours to do.
pub(crate) fn install(package: &str) -> Result<(), String> {
    static UPDATED: OnceLock<bool> = OnceLock::new();
    if !gfl_e2e::skip::is_root() || !Path::new("/etc/debian_version").exists() {
        return Err(format!(
            "not installed (Debian package {package}), and only root on Debian may"
        ));
    }
    println!("installing {package} …");
    UPDATED.get_or_init(|| apt(&["update", "-q"]).is_ok());
    apt(&["install", "-y", "-q", "--no-install-recommends", package]).map_err(|e| format!("{e:#}"))
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    output(&mut command).map(|_| ())
}

/// A folder on a disk with room: the system's temporary folder, else one in the build folder.
pub(crate) fn roomy_temp(bytes: u64) -> Result<tempfile::TempDir> {
    let target = target_dir()?;
    std::fs::create_dir_all(&target)?;
    for place in [std::env::temp_dir(), target] {
        if gfl_e2e::mount::free_bytes(&place) >= bytes {
            let builder = tempfile::Builder::new().prefix("gfl-").tempdir_in(&place);
            return builder.with_context(|| format!("a temporary folder in {}", place.display()));
        }
    }
    bail!(
        "neither the temporary folder nor the build folder has {} GiB free",
        bytes >> 30
    )
}
