//! What the program can do, in its own words.

/// One command's help.
pub(crate) struct Usage {
    /// Its name.
    pub(crate) name: &'static str,
    /// How it is written.
    pub(crate) synopsis: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// Everything else worth knowing.
    pub(crate) details: &'static str,
    /// Lines to be typed, and what they are for behind a `#`.
    pub(crate) examples: &'static [&'static str],
}

/// All commands in the order they are shown.
pub(crate) const COMMANDS: &[Usage] = &[
    Usage {
        name: "put",
        synopsis: "gfl put <local>... <remote>",
        summary: "upload a file, a folder, or several files",
        details: "\
<local> is a file, a folder, a pattern (* ? [ ]) or - for stdin. Several that are all here may be named; the last
word is then the remote folder. Behind one <local> several words are one remote name, as in v0.1, unless they may be
files too: then nothing is sent. Of several, what cannot be sent is told and the others are. A <remote> with a / at the end is a folder that the name of <local> is
added to; a folder named with a / at the end (photos/) is sent as what it holds, without its own name.
Large files go over several connections; run the same command again to continue an interrupted one.
What the server has already is not sent again: of folders, files with the same size and time; of files named by
themselves, those with the same content, which get their time and mode on the server.

  --parallel N    connections for one large file (default 4)
  --no-clobber    skip files that are there (--overwrite, the default, replaces them)
  --checksum      folders: compare content instead of size and time
  --force         send everything, unchanged or not
  -L, --follow    send what symlinks lead to; without it they are left out
  -r              changes nothing: a folder always goes with all it holds",
        examples: &[
            "gfl put report.pdf docs/report.pdf",
            "gfl put photos/ backup/photos        # the same folder over there",
            "gfl put a.log b.log logs/",
            "tar c src | gfl put - backups/src.tar",
        ],
    },
    Usage {
        name: "get",
        synopsis: "gfl get <remote> [<local>]\n       gfl get -- <remote>... <folder>",
        summary: "download a file, a folder, or all files that match a pattern",
        details: "\
<remote> is a file, a folder or a pattern (* ? [ ] behind the last /, quoted). <local> is a file, a folder, or - for stdout; without
it the remote name is used in the current folder. A folder goes to <local> itself, or below it if <local> ends
with /. Several words for <local> are one name, as in v0.1 (but no folder, pattern or stdout); behind -- each word
is a name of its own, and the last one of several is the local folder.
Nothing gets its name before all of it arrived and its hash is right; until then it is a hidden
file beside it, .NAME.TAG.gfl-part.
Run the same command again to continue an interrupted download. What is here already is not fetched again.

  --parallel N    connections for one large file (default 4)
  --no-clobber    skip files that are there (--overwrite, the default, replaces them)
  --checksum      folders: compare content instead of size and time
  --force         fetch everything, unchanged or not
  -r              changes nothing: a folder always comes with all it holds",
        examples: &[
            "gfl get docs/report.pdf",
            "gfl get backup/photos restored/      # to restored/photos",
            "gfl get 'logs/*.log' logs",
            "gfl get -- docs/a.pdf docs/b.pdf here",
            "gfl get backups/src.tar - | tar x",
        ],
    },
    Usage {
        name: "ls",
        synopsis: "gfl ls [<path>]",
        summary: "list a folder",
        details: "\
Without a path the root is listed. Several words are one name, as in v0.1; behind -- each word is a name of its own.

  -l, --long        with type and mode, size, time and the beginning of the hash
  -r, --recursive   with everything below
  --json            one JSON object a line",
        examples: &["gfl ls", "gfl ls -lr docs", "gfl ls -- docs 'my photos'"],
    },
    Usage {
        name: "rm",
        synopsis: "gfl rm <path>\n       gfl rm -- <path>...",
        summary: "delete a file, or a folder with all it holds",
        details: "\
Does not ask. `gfl restore` brings it back for some days.
Several words are one name, as in v0.1; behind -- each word is a name of its own.

  -r, -f            change nothing: folders always go, and nothing is asked",
        examples: &["gfl rm docs/old.pdf", "gfl rm -- a.txt b.txt"],
    },
    Usage {
        name: "mkdir",
        synopsis: "gfl mkdir <path>\n       gfl mkdir -- <path>...",
        summary: "make a folder and its parents",
        details: "\
A folder that is there already is fine.
Several words are one name, as in v0.1; behind -- each word is a name of its own.

  -p                changes nothing: parents are always made",
        examples: &["gfl mkdir docs/2026"],
    },
    Usage {
        name: "mv",
        synopsis: "gfl mv <from> <to>",
        summary: "move or rename a file or folder on the server",
        details: "\
A <to> that ends with / is a folder that the name is added to. Names with spaces need quotes.

  --overwrite       replace a file that is there",
        examples: &["gfl mv docs/a.pdf docs/b.pdf", "gfl mv docs/a.pdf archive/"],
    },
    Usage {
        name: "cp",
        synopsis: "gfl cp <from> <to>",
        summary: "copy a file or folder on the server",
        details: "\
A <to> that ends with / is a folder that the name is added to. Nothing is downloaded. Names with spaces need quotes.

  --overwrite       replace files that are there
  -r                changes nothing: a folder is always copied with all it holds",
        examples: &["gfl cp docs archive/docs-2026"],
    },
    Usage {
        name: "stat",
        synopsis: "gfl stat <path>",
        summary: "show all that is known of a file or folder",
        details: "\
Several words are one name, as in v0.1; behind -- each word is a name of its own.

  --json            as JSON",
        examples: &["gfl stat docs/report.pdf"],
    },
    Usage {
        name: "restore",
        synopsis: "gfl restore <path>\n       gfl restore --list <path>",
        summary: "undo: bring a deleted or older version back",
        details: "\
Without options the newest deleted version comes back, files and folders alike.
Several words are one name, as in v0.1; behind -- each word is a name of its own.

  --list            show the versions of a file, or what was deleted from a folder (write it with a / at the end)
  --version ID      bring this version back
  --json            one JSON object a line",
        examples: &[
            "gfl restore docs                      # after gfl rm docs",
            "gfl restore --list docs/              # what was deleted from docs",
            "gfl restore --version 01m8264eaty515vvzqqhddsmy5 docs/report.pdf",
        ],
    },
    Usage {
        name: "config",
        synopsis: "gfl config [HOST:PORT [TOKEN|-]]",
        summary: "remember a server and a token, or show what is in use",
        details: "\
Without HOST: shows which file, server and token are in use and where they are from; no server is asked, and no
token is shown. With HOST: asks the server whether it is there and takes the token, then writes both into the
settings file in use, or ~/.config/gfl/config.json. Keeps whatever else is in the file, and a token that is there.
With - for TOKEN it is asked for, or read from a pipe: the list of processes shows words to all users.

Without http:// or https:// the server is asked for TLS first. A certificate that no authority vouches for is
shown, and remembered when you say that it is the right one: compare it with what the server printed at its start.
From then on no other one is accepted.

  --fingerprint HEX   remember the certificate with this SHA-256 fingerprint, and ask nothing
  --trust             remember the certificate that is shown now, and ask nothing; never in place of another
  --force             replace a token by another one
  --json              the settings in use as JSON",
        examples: &["gfl config", "gfl config 192.168.1.5:8080", "gfl -config ./goflux.json config nas:8080"],
    },
    Usage {
        name: "discover",
        synopsis: "gfl discover",
        summary: "find servers on this machine and in its networks",
        details: "\
Asks for 0.9 s; servers of this version answer at once. Those of v0.1 cannot be asked: they announce themselves
every 30 seconds. A server that listens on loopback only announces itself only if its server.discovery is true.
What is found is what somebody in the network says: it gets no token before `gfl config`.

  --wait   listen for 32 s, to find servers of v0.1 too
  --json   one JSON object a line",
        examples: &["gfl discover", "gfl discover --wait"],
    },
    Usage {
        name: "update",
        synopsis: "gfl update",
        summary: "replace this program by the newest release",
        details: "\
Takes only what is signed with the key this program was built with, checks size and SHA-256, tries the new program
before it takes the old one's place, and keeps the old one as <program>.backup.

  -l, --local   ask the configured server for the release first
  --check       only say whether there is a newer one
  -y, --yes     do not ask
  --downgrade   take the release even if it is older, or the same
  --json        with --check: the answer as JSON",
        examples: &["gfl update --check", "gfl update --local"],
    },
    Usage {
        name: "version",
        synopsis: "gfl version",
        summary: "show the versions of gfl and of the server",
        details: "A server that does not answer is no failure.",
        examples: &["gfl version"],
    },
    Usage {
        name: "help",
        synopsis: "gfl help [COMMAND]",
        summary: "show this, or more about a command",
        details: "",
        examples: &["gfl help put"],
    },
];

/// Help for one command, or for all.
pub(crate) fn of(topic: Option<&str>) -> String {
    match COMMANDS.iter().find(|command| Some(command.name) == topic) {
        Some(command) => one(command),
        None => all(),
    }
}

fn one(command: &Usage) -> String {
    let mut text = format!(
        "Usage: {}\n\n{}",
        command.synopsis,
        capitalised(command.summary)
    );
    if !command.details.is_empty() {
        text.push_str("\n\n");
        text.push_str(command.details);
    }
    text.push_str("\n\nExamples:");
    for example in command.examples {
        text.push_str("\n  ");
        text.push_str(example);
    }
    text.push_str("\n\nOptions of all commands: gfl help");
    text
}

fn all() -> String {
    let mut text = String::from(
        "GoFlux Lite: file transfer between machines you own\n\nUsage: gfl [options] <command> [arguments]\n\n",
    );
    for command in COMMANDS {
        text.push_str(&format!("  {:<9} {}\n", command.name, command.summary));
    }
    text.push_str(
        "
  -config FILE    settings to use instead of the usual ones
  --server ADDR   server to use instead of the configured one
  --fingerprint HEX  accept only the certificate with this SHA-256 fingerprint
  --retries N     tries without any progress before giving up. Without this: 8 (short commands 3), and for a
                  server that was there and is gone, 5 minutes
  --timeout S     seconds without a byte before a connection counts as dead (default 30)
  --json          results as JSON on stdout, errors and warnings as JSON on stderr, one object a line
  -q, --quiet     only warnings and errors
  -v, --verbose   every file and every retry
  -version        show the version
  -h, --help      show this; behind a command, more about it

Options may stand anywhere in front of a --, short ones together (-lr). Words behind the first argument are joined
by spaces, so names with spaces need no quotes; behind -- every word is a name of its own, and
may begin with a dash.

Exit codes: 0 ok, 1 failed, 2 a wrong option or address, 3 not allowed, 4 not there, 5 conflict, 6 network,
7 damaged content, 8 no room. The token comes from GOFLUX_TOKEN_LITE or from `gfl config HOST:PORT TOKEN`.
`gfl help COMMAND` tells more.",
    );
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}
