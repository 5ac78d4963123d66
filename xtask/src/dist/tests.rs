use super::*;
use crate::tools;
use gfl_e2e::{bins, skip};
use std::process::Command;
use std::sync::OnceLock;

/// The programs under test.
pub(super) fn programs_folder() -> PathBuf {
    for name in PROGRAMS {
        bins::path(name);
    }
    let gfl = bins::path("gfl");
    gfl.parent().expect("programs lie in a folder").to_owned()
}

/// A signed release, made once for all tests.
fn signed() -> &'static Path {
    static SIGNED: OnceLock<PathBuf> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let out = tools::target_dir().unwrap().join("test-release");
        let _from_the_last_run = std::fs::remove_dir_all(&out);
        std::fs::create_dir_all(&out).unwrap();
        // Of another platform, built elsewhere.
        std::fs::write(out.join("gfl_plan9_mips"), "x").unwrap();
        small_release(&out, Some(&signer())).unwrap();
        out
    })
}

/// The one file of it that ends so.
fn signed_file(suffix: &str) -> PathBuf {
    let mut files = listed(signed(), |name| name.ends_with(suffix)).unwrap();
    assert_eq!(files.len(), 1, "{suffix}: {files:?}");
    files.remove(0)
}

/// A release of the programs under test without their symbols, which would take long to pack.
fn small_release(out: &Path, signer: Option<&Signer>) -> Result<Vec<PathBuf>> {
    let stripped = tempfile::tempdir()?;
    for name in PROGRAMS {
        let mut strip = Command::new("strip");
        strip
            .arg("-o")
            .arg(stripped.path().join(name))
            .arg(bins::path(name));
        tools::run(&mut strip)?;
    }
    let wish = Wish {
        out: out.to_owned(),
        profile: String::new(),
        url: "https://example.org/r".into(),
    };
    let stamp = Stamp {
        effort: 1,
        ..stamp_at(1_700_000_000)?
    };
    release(stripped.path(), &wish, &stamp, signer)
}

fn signer() -> Signer {
    Signer::parse(&sign::tests::secret([9; 32])).unwrap()
}

fn output(program: &str, args: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

#[test]
fn a_release_is_whole_and_signed() {
    let out = signed();
    let files = listed(out, |_| true).unwrap();
    let names: Vec<String> = files.iter().map(|file| file_name(file)).collect();
    let here = platform(std::env::consts::OS, std::env::consts::ARCH);
    for name in PROGRAMS {
        assert!(names.contains(&format!("{name}_{here}")), "{names:?}");
    }
    for name in [
        "SHA256SUMS",
        "SHA256SUMS.minisig",
        "version.json",
        "version.json.minisig",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert!(
        names.iter().any(|n| n.ends_with(".deb")) && names.iter().any(|n| n.ends_with(".tar.gz"))
    );
    let checked = output("sha256sum", &["-c", "SHA256SUMS"], out);
    assert_eq!(
        checked
            .lines()
            .filter(|line| line.ends_with(": OK"))
            .count(),
        7,
        "{checked}"
    );

    let text = std::fs::read(out.join("version.json")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.version, format!("{VERSION}-lite"));
    assert_eq!(manifest.release_date, "2023-11-14");
    assert!(manifest.notes.starts_with("- "), "{}", manifest.notes);
    let platforms: Vec<&String> = manifest.binaries.keys().collect();
    assert_eq!(platforms, [&here, "plan9_mips"]);
    let binary = &manifest.binaries[&here];
    assert_eq!(binary.url, format!("https://example.org/r/gfl_{here}"));
    let content = std::fs::read(out.join(format!("gfl_{here}"))).unwrap();
    assert_eq!(binary.digest(), Some(Sha256::digest(&content).into()));
}

#[test]
fn a_release_made_again_is_the_same_and_without_a_key_unsigned() {
    let again = tempfile::tempdir().unwrap();
    std::fs::write(again.path().join("gfl_plan9_mips"), "x").unwrap();
    let files = small_release(again.path(), None).unwrap();
    let signatures = listed(signed(), |name| name.ends_with(".minisig")).unwrap();
    let all = listed(signed(), |_| true).unwrap();
    assert_eq!((files.len(), signatures.len()), (all.len() - 2, 2));
    for file in files {
        let first = std::fs::read(signed().join(file_name(&file))).unwrap();
        assert!(
            std::fs::read(&file).unwrap() == first,
            "{} differs",
            file.display()
        );
    }
}

#[test]
fn the_archive_unpacks_to_a_prefix() {
    let out = tempfile::tempdir().unwrap();
    let archive = signed_file(".tar.gz");
    output(
        "tar",
        &["-xzf", &archive.to_string_lossy(), "--strip-components=1"],
        out.path(),
    );
    for path in [
        "bin/gfl",
        "share/man/man1/gfl.1.gz",
        "share/bash-completion/completions/gfl",
        "README.md",
    ] {
        assert!(out.path().join(path).is_file(), "{path}");
    }
    let said = output("bin/gfl", &["-version"], out.path());
    assert_eq!(said.trim(), format!("gfl version: {VERSION}"));
}

/// The file system of this machine with everything that is written going elsewhere.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Result<Self, String> {
        if !skip::is_root() {
            return Err("needs root to install a package".into());
        }
        if !Path::new("/etc/debian_version").exists() {
            return Err("needs a Debian system".into());
        }
        let dir = tempfile::tempdir_in("/dev/shm").map_err(|e| e.to_string())?;
        let root = dir.path().display();
        for folder in ["upper", "work", "root"] {
            std::fs::create_dir(dir.path().join(folder)).map_err(|e| e.to_string())?;
        }
        let layers = format!("lowerdir=/,upperdir={root}/upper,workdir={root}/work");
        let root = format!("{root}/root");
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &layers, &root]);
        tools::output(&mut mount).map_err(|e| format!("{e:#}"))?;
        let sandbox = Self { dir };
        for kind in ["proc", "dev"] {
            let mut mount = Command::new("mount");
            mount.args(["--bind", &format!("/{kind}"), &format!("{root}/{kind}")]);
            tools::output(&mut mount).map_err(|e| format!("{e:#}"))?;
        }
        Ok(sandbox)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.root()).args(["/bin/sh", "-ec", line]);
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a line in it and returns all it said.
    #[track_caller]
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        said
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for below in ["proc", "dev", ""] {
            let path = self.root().join(below);
            let _may_not_be_mounted = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}

#[test]
fn the_package_installs_runs_and_leaves_the_files() {
    use std::io::{BufRead, BufReader};
    let sandbox = match Sandbox::new() {
        Ok(sandbox) => sandbox,
        Err(why) => return skip::skip("the Debian package", &why),
    };
    let deb = signed_file(".deb");
    let listed = output("dpkg-deb", &["-c", &deb.to_string_lossy()], signed());
    for path in [
        "./usr/bin/gfl-server",
        "./etc/gfl/goflux.json",
        "./usr/share/man/man8/gfl-server.8.gz",
    ] {
        assert!(listed.contains(path), "{listed}");
    }
    assert!(
        listed.lines().all(|line| line.contains(" root/root ")),
        "{listed}"
    );
    std::fs::copy(deb, sandbox.root().join("tmp/gfl.deb")).unwrap();

    sandbox.run("apt-get install -y -q /tmp/gfl.deb || dpkg -i /tmp/gfl.deb");
    assert_eq!(
        sandbox.run("dpkg --verify goflux-lite"),
        "",
        "every file is as it was packed"
    );
    let owned = sandbox
        .run("stat -c '%U %a %n' /var/lib/gfl /var/lib/gfl/tokens.json /etc/gfl/goflux.json");
    assert_eq!(
        owned,
        "gfl 750 /var/lib/gfl\ngfl 600 /var/lib/gfl/tokens.json\nroot 644 /etc/gfl/goflux.json\n"
    );
    // The service's own command, as its user, with a token that root made.
    let made = sandbox.run("gfl-admin create -user alice -file /var/lib/gfl/tokens.json");
    let token = made
        .lines()
        .find_map(|line| line.strip_prefix("Token:"))
        .unwrap()
        .trim()
        .to_owned();
    let serve = "cd /var/lib/gfl && exec setpriv --reuid gfl --regid gfl --clear-groups \
                 gfl-server -config /etc/gfl/goflux.json -listen 127.0.0.1:0";
    let mut server = sandbox
        .command(serve)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let ready = lines
        .map_while(Result::ok)
        .find(|line| line.contains("listening on "));
    let address = ready.unwrap().rsplit(' ').next().unwrap().to_owned();
    let put = format!(
        "echo hello >/tmp/hello && GOFLUX_TOKEN_LITE={token} gfl --server {address} put /tmp/hello docs/hello"
    );
    let said = sandbox.run(&put);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(said.contains("✓ Upload complete"), "{said}");
    assert_eq!(sandbox.run("cat /var/lib/gfl/data/docs/hello"), "hello\n");
    // The package manager's program is the package manager's to update.
    let owned = sandbox.run("GFL_UPDATE_KEYS=RWTKRWJz9yqsAMi4xH3wQOlI/NMgURlv+Vgx8gJNCXd8jHsb8GrD8g5Q gfl update 2>&1 || true");
    assert!(
        owned.contains("belongs to the package goflux-lite"),
        "{owned}"
    );

    sandbox.run("dpkg -i /tmp/gfl.deb");
    sandbox.run("echo '{}' >/etc/gfl/goflux.json && dpkg --purge goflux-lite");
    assert_eq!(
        sandbox.run("cat /var/lib/gfl/data/docs/hello"),
        "hello\n",
        "a purge takes no user's file"
    );
    sandbox.run("! test -e /usr/bin/gfl-server && ! test -e /etc/gfl && id gfl");
}
