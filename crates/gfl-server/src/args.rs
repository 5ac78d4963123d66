//! The command line, as Go's flag package takes it. Only what was typed; what it means is [`crate::start`]'s.

use gfl_api::goflags::{self, FlagError, Known};
use std::net::SocketAddr;

/// The program's version, with the suffix of the edition as v0.1 had it.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-lite");

const KNOWN: &[Known] = &[
    Known::value("config"),
    Known::value("port"),
    Known::switch("version"),
    Known::switch("public"),
    Known::switch("plain-http"),
    Known::switch("check"),
    Known::switch("print-token"),
    Known::value("storage-dir"),
    Known::value("meta-dir"),
    Known::value("listen"),
    Known::value("durability"),
];

const USAGE: &str = "\
Usage of gfl-server:
  -config string
    \tconfiguration file; if it is missing it is made with safe defaults, and a first token beside it
    \t(default \"goflux.json\")
  -port string
    \tport to listen on, at the configured host; 0 takes a free one
  -listen string
    \taddress to listen on, host:port; overrules server.address
  -public
    \tlisten on all interfaces, with TLS: with a certificate of its own if none is configured
  -plain-http
    \tanswer requests without TLS too
  -storage-dir string
    \tfolder with the files; overrules server.storage_dir
  -meta-dir string
    \tfolder with the catalog, outside of the storage folder; overrules server.meta_dir
  -durability string
    \tbatch, strict or none; overrules server.durability
  -print-token
    \tprint the first token even where the output is no terminal and may be kept in a log
  -check
    \tprint the settings in force and all that is doubtful about them, and exit: 0 if the server would
    \tstart, 1 if it would refuse to; nothing is made or changed
  -version
    \tprint the version and exit
SIGTERM and SIGINT stop the server when running requests are done (server.drain_seconds at most), the second one
at once. SIGHUP reads the configuration and the certificate again.
";

/// The default of `-config`, relative to the current folder as in v0.1.
const CONFIG_DEFAULT: &str = "goflux.json";

/// What was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// `-config`.
    pub config: String,
    /// `-port`.
    pub port: Option<String>,
    /// `-listen`.
    pub listen: Option<String>,
    /// `-public`.
    pub public: bool,
    /// `-plain-http`.
    pub plain_http: bool,
    /// `-check`.
    pub check: bool,
    /// `-print-token`.
    pub print_token: bool,
    /// `-storage-dir`.
    pub storage_dir: Option<String>,
    /// `-meta-dir`.
    pub meta_dir: Option<String>,
    /// `-durability`.
    pub durability: Option<String>,
    /// The address of the socket that systemd passed; of several, one that others can reach. It goes before all else
    /// that names an address. Not typed.
    pub passed: Option<SocketAddr>,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// To serve, or to check.
    Run(Args),
    /// To say something and end.
    Exit {
        /// The exit code.
        code: u8,
        /// For stdout.
        stdout: String,
        /// For stderr.
        stderr: String,
    },
}

/// Reads the arguments behind the program's name. (v0.1 took what follows the options for nothing, options too: a
/// check began to serve.)
pub fn parse(given: &[String]) -> Asked {
    let parsed = match goflags::parse(given, KNOWN) {
        Ok(parsed) => parsed,
        Err(FlagError::Help) => {
            return Asked::Exit {
                code: 0,
                stdout: String::new(),
                stderr: USAGE.to_owned(),
            };
        }
        Err(error) => {
            return Asked::Exit {
                code: 2,
                stdout: String::new(),
                stderr: format!("{error}\n{USAGE}"),
            };
        }
    };
    if parsed.is_on("version") {
        let stdout = format!("goflux-lite-server version: {VERSION}\n");
        return Asked::Exit {
            code: 0,
            stdout,
            stderr: String::new(),
        };
    }
    if let Some(word) = parsed.rest.first() {
        return Asked::Exit {
            code: 2,
            stdout: String::new(),
            stderr: format!("{word:?} is no option; options begin with a dash\n{USAGE}"),
        };
    }
    // An empty value is what Go's flags cannot tell from none.
    let text = |name| {
        parsed
            .value(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Asked::Run(Args {
        config: text("config").unwrap_or_else(|| CONFIG_DEFAULT.to_owned()),
        port: text("port"),
        listen: text("listen"),
        public: parsed.is_on("public"),
        plain_http: parsed.is_on("plain-http"),
        check: parsed.is_on("check"),
        print_token: parsed.is_on("print-token"),
        storage_dir: text("storage-dir"),
        meta_dir: text("meta-dir"),
        durability: text("durability"),
        passed: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn run(line: &str) -> Args {
        match asked(line) {
            Asked::Run(args) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_are_gos() {
        assert_eq!(run("").config, "goflux.json");
        let args = run("-config a.json --port=81 -public=true -check=0 --");
        assert_eq!(
            (args.config.as_str(), args.port.as_deref()),
            ("a.json", Some("81"))
        );
        assert!(args.public && !args.check && !args.print_token);
    }

    #[test]
    fn help_and_parser_know_the_same_options() {
        let told = USAGE.lines().filter_map(|line| line.strip_prefix("  -"));
        let mut told: Vec<(&str, bool)> = told
            .map(|line| {
                line.split_once(' ')
                    .map_or((line, false), |(name, _)| (name, true))
            })
            .collect();
        let mut known: Vec<(&str, bool)> = KNOWN
            .iter()
            .map(|option| (option.name, option.takes_value))
            .collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }

    #[test]
    fn exits() {
        let code = |line| match asked(line) {
            Asked::Exit {
                code,
                stdout,
                stderr,
            } => (code, stdout, stderr),
            Asked::Run(args) => panic!("{args:?}"),
        };
        let (exit, stdout, _) = code("-version");
        assert_eq!(
            (exit, stdout.starts_with("goflux-lite-server version: ")),
            (0, true)
        );
        let (exit, _, stderr) = code("-h");
        assert!(exit == 0 && stderr.starts_with("Usage of"));
        let (exit, _, stderr) = code("-nope");
        assert!(exit == 2 && stderr.starts_with("flag provided but not defined: -nope\nUsage of"));
        assert_eq!(code("-port").0, 2);
        for line in ["extra args -check", "-check extra", "check"] {
            let (exit, stdout, stderr) = code(line);
            assert!(exit == 2 && stdout.is_empty(), "{line}");
            assert!(stderr.contains("is no option; options begin with a dash\n"));
        }
    }
}
