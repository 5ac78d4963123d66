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
}

/// All commands in the order they are shown.
pub(crate) const COMMANDS: &[Usage] = &[
    Usage {
        name: "put",
        synopsis: "gfl put <local> <remote>",
        summary: "upload a file, a folder, or several files",
        details: "\
<local> is a file, a folder, a pattern (* ? [ ]) or - for stdin. Several files may be named; the last word is
then the remote folder. A <remote> with a / at the end is a folder that the name of <local> is added to;
a folder named with a / at the end (photos/) is sent as what it holds, without its own name.
Large files go over several connections; run the same command again to continue an interrupted one.
Folders: files with the same size and time as on the server are skipped.

  --parallel N    connections for one large file (default 4)
  --no-clobber    leave alone what is there (--overwrite, the default, replaces it)
  --checksum      folders: compare content instead of size and time
  --force         folders: send everything
  -L, --follow    send what symlinks lead to; without it they are skipped",
    },
    Usage {
        name: "get",
        synopsis: "gfl get <remote> [<local>]",
        summary: "download a file, a folder, or all files that match a pattern",
        details: "\
<local> is a file, a folder, or - for stdout; without it the remote name is used in the current folder.
Nothing gets its name before all of it arrived and its hash is right; until then it is <local>.part.
Run the same command again to continue an interrupted download.
A folder goes to <local> itself, or below it if <local> ends with /.

  --parallel N    connections for one large file (default 4)
  --no-clobber    leave alone what is there (--overwrite, the default, replaces it)
  --checksum      folders: compare content instead of size and time
  --force         folders: fetch everything",
    },
    Usage {
        name: "ls",
        synopsis: "gfl ls [<path>]",
        summary: "list a folder",
        details: "\
  -l, --long        with size, time, mode and hash
  -r, --recursive   with everything below
  --json            one JSON object a line",
    },
    Usage {
        name: "rm",
        synopsis: "gfl rm <path>",
        summary: "delete a file, or a folder with all it holds",
        details: "Does not ask. `gfl restore` brings it back for some days.",
    },
    Usage { name: "mkdir", synopsis: "gfl mkdir <path>", summary: "make a folder and its parents", details: "" },
    Usage {
        name: "mv",
        synopsis: "gfl mv <from> <to>",
        summary: "move or rename a file or folder on the server",
        details: "\
A <to> that ends with / is a folder that the name is added to.

  --overwrite   replace a file that is there",
    },
    Usage {
        name: "cp",
        synopsis: "gfl cp <from> <to>",
        summary: "copy a file or folder on the server",
        details: "\
A <to> that ends with / is a folder that the name is added to. Nothing is downloaded.

  --overwrite   replace files that are there",
    },
    Usage {
        name: "stat",
        synopsis: "gfl stat <path>",
        summary: "show all that is known of a file or folder",
        details: "  --json   as JSON",
    },
    Usage {
        name: "restore",
        synopsis: "gfl restore <path>",
        summary: "undo: bring a deleted or older version back",
        details: "\
Without options the newest deleted version comes back, files and folders alike.

  --list          show the versions of a file, or what was deleted from a folder (write it with a / at the end)
  --version ID    bring this version back",
    },
    Usage {
        name: "config",
        synopsis: "gfl config [HOST:PORT [TOKEN]]",
        summary: "remember a server and a token, or show what is remembered",
        details: "\
Without http:// or https:// the server is asked for TLS first. A certificate that no authority vouches for is
shown, and remembered when you say that it is the right one: compare it with what the server printed at its start.
From then on no other one is accepted. Keeps whatever else is in the file, and a token that is there.

  --fingerprint HEX   remember the certificate with this SHA-256 fingerprint, and ask nothing
  --trust             remember the certificate that is shown now, and ask nothing; never in place of another
  --force             replace one token by another",
    },
    Usage {
        name: "version",
        synopsis: "gfl version",
        summary: "show the versions of gfl and of the server",
        details: "",
    },
    Usage { name: "help", synopsis: "gfl help [COMMAND]", summary: "show this, or more about a command", details: "" },
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
  --retries N     tries without any progress before giving up (default 8, short commands 3)
  --timeout S     seconds without a byte before a connection counts as dead (default 30)
  --json          results as JSON on stdout
  -q, --quiet     only errors
  -v, --verbose   every file and every retry
  -version        show the version

Words behind the first argument are joined by spaces, so names with spaces need no quotes;
behind -- every word is a name. `gfl help COMMAND` tells more.",
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
