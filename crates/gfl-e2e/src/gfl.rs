//! The real client `gfl`, with a home of its own.

use crate::bins;
use crate::server::Server;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.out,
            self.err
        );
        self
    }
}

/// A client.
#[derive(Debug)]
pub struct Gfl {
    home: tempfile::TempDir,
    url: String,
    token: String,
}

impl Gfl {
    /// A client of this server.
    pub fn new(server: &Server) -> Gfl {
        Gfl::at(&server.url(), server.token())
    }

    /// A client of a server at `url` (through a proxy, say).
    pub fn at(url: &str, token: &str) -> Gfl {
        let home = tempfile::tempdir().expect("a temporary folder");
        let gfl = Gfl {
            home,
            url: url.to_owned(),
            token: token.to_owned(),
        };
        gfl.write_config();
        gfl
    }

    fn write_config(&self) {
        let config = serde_json::json!({
            "client": { "server_url": self.url, "chunk_size": 1_048_576, "token": self.token }
        });
        std::fs::write(self.config(), config.to_string()).expect("client config written");
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("goflux.json")
    }

    /// Its home, which is also its working folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path in its home.
    pub fn local(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The program with its surroundings; arguments follow.
    pub fn command(&self) -> Command {
        let mut command = Command::new(bins::path("gfl"));
        command
            .arg("-config")
            .arg(self.config())
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("GOFLUX_TOKEN_LITE")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Output {
        let output = self
            .command()
            .args(args)
            .output()
            .expect("gfl can be started");
        Output {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts and returns at once.
    #[track_caller]
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Child {
        let mut command = self.command();
        command
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("gfl can be started")
    }
}
