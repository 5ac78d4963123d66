//! What the programs say about themselves, read from their own help: the one source of man pages and completions, so
//! that these cannot tell anything else.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command as Process;

/// A program.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name.
    pub(super) name: &'static str,
    /// One line about it.
    pub(super) summary: &'static str,
    /// The section of the manual it belongs to.
    pub(super) section: u8,
    /// How it is written, one form a line.
    pub(super) synopsis: String,
    /// What else its help says.
    pub(super) description: Vec<String>,
    /// Options of the program, or of all its commands.
    pub(super) options: Vec<Opt>,
    /// Its commands, if it has some.
    pub(super) commands: Vec<Command>,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its name.
    pub(super) name: String,
    /// How it is written, one form a line.
    pub(super) synopsis: String,
    /// What it does, in one line.
    pub(super) summary: String,
    /// What else its help says.
    pub(super) description: Vec<String>,
    /// Its own options.
    pub(super) options: Vec<Opt>,
    /// Whole command lines.
    pub(super) examples: Vec<String>,
}

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opt {
    /// How it is written, with its dashes; the short form first.
    pub(super) names: Vec<String>,
    /// What its value is called; none for a switch.
    pub(super) value: Option<String>,
    /// What it does.
    pub(super) text: String,
}

impl Opt {
    /// Whether the value is a local file or folder.
    pub(super) fn takes_file(&self) -> bool {
        let is_file = |text: &str| ["file", "folder"].iter().any(|word| text.contains(word));
        // Go's help has the type there, and the meaning in the text.
        let value = self.value.as_deref().unwrap_or_default().to_lowercase();
        is_file(&value) || (value == "string" && is_file(&self.text.to_lowercase()))
    }
}

impl Command {
    /// Whether words behind it may be local files.
    pub(super) fn takes_files(&self) -> bool {
        self.synopsis.contains("<local>")
    }
}

/// Reads the help of all three programs in a folder.
pub(super) fn programs(folder: &Path) -> Result<Vec<Program>> {
    let run = |name: &str, args: &[&str]| said(&folder.join(name), args);
    let mut all = vec![
        program(
            "gfl",
            1,
            "client of the GoFlux Lite file server",
            &run("gfl", &["help"])?,
        )?,
        program(
            "gfl-admin",
            1,
            "administration of GoFlux Lite",
            &run("gfl-admin", &["help"])?,
        )?,
        program(
            "gfl-server",
            8,
            "GoFlux Lite file server",
            &run("gfl-server", &["-h"])?,
        )?,
    ];
    for program in &mut all {
        for command in program.commands.iter_mut().filter(|c| c.name != "help") {
            let page = match program.name {
                "gfl" => run("gfl", &["help", &command.name])?,
                name => run(name, &[&command.name, "-h"])?,
            };
            command.learn(&page);
        }
    }
    Ok(all)
}

fn said(program: &Path, args: &[&str]) -> Result<String> {
    let output = Process::new(program).args(args).output();
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let shown = format!("{} {}", program.display(), args.join(" "));
    ensure!(output.status.success(), "{shown}: {}", output.status);
    // Help that was asked for with an option goes to stderr, as Go's.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).with_context(|| shown)
}

/// Reads a program's overview.
fn program(name: &'static str, section: u8, summary: &'static str, text: &str) -> Result<Program> {
    let page = Page::parse(text);
    let usage = page
        .usage
        .with_context(|| format!("{name} has no usage line"))?;
    let commands: Vec<Command> = page
        .rows
        .iter()
        .map(|row| Command::row(name, row))
        .collect();
    if page.options.is_empty() && commands.is_empty() {
        bail!("{name}: no options and no commands were found in its help");
    }
    Ok(Program {
        name,
        summary,
        section,
        synopsis: usage,
        description: page.paragraphs,
        options: page.options,
        commands,
    })
}

impl Command {
    /// A row of the overview: `name [arguments]   summary`.
    fn row(program: &str, row: &(String, String)) -> Self {
        let (written, summary) = row;
        let name = written.split(' ').next().unwrap_or_default();
        Self {
            name: name.to_owned(),
            synopsis: format!("{program} {written}"),
            summary: summary.clone(),
            description: Vec::new(),
            options: Vec::new(),
            examples: Vec::new(),
        }
    }

    /// Takes what its own page says beyond the row.
    fn learn(&mut self, text: &str) {
        let page = Page::parse(text);
        // `Usage of create:` names no arguments; the row does.
        if let Some(usage) = page.usage.filter(|usage| usage.contains(' ')) {
            self.synopsis = usage;
        }
        let is_news =
            |p: &&String| !p.eq_ignore_ascii_case(&self.summary) && !p.starts_with(POINTER);
        self.description = page.paragraphs.iter().filter(is_news).cloned().collect();
        self.options = page.options;
        self.examples = page.examples;
    }
}

/// Says where more is to be found; in a manual that is the same page.
const POINTER: &str = "Options of all commands: ";
const EXAMPLES: &str = "Examples:";

/// One page of help, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    usage: Option<String>,
    paragraphs: Vec<String>,
    examples: Vec<String>,
    rows: Vec<(String, String)>,
    options: Vec<Opt>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut is_open = false;
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let body = line.trim();
            if body.is_empty() {
                is_open = false;
            } else if let Some(usage) = line.strip_prefix("Usage: ") {
                // Other forms stand below the first one.
                let more = std::iter::from_fn(|| lines.next_if(|l| l.starts_with("       ")));
                let forms: Vec<&str> = std::iter::once(usage).chain(more.map(str::trim)).collect();
                page.usage = Some(forms.join("\n"));
            } else if line == EXAMPLES {
                while let Some(example) = lines.next_if(|l| l.starts_with("  ")) {
                    page.examples.push(example.trim().to_owned());
                }
            } else if let Some(usage) = line.strip_prefix("Usage of ") {
                page.usage = Some(usage.trim_end_matches(':').to_owned());
            } else if line.starts_with("  ") {
                let mut text = Vec::new();
                // What goes on below it stands further in.
                while let Some(more) = lines.next_if(|l| l.starts_with("    ")) {
                    text.push(more.trim());
                }
                page.entry(body, &text);
                is_open = false;
            } else if let Some(last) = page.paragraphs.last_mut().filter(|_| is_open) {
                last.push(' ');
                last.push_str(body);
            } else {
                page.paragraphs.push(body.to_owned());
                is_open = true;
            }
        }
        page
    }

    /// An indented line: an option, or a command.
    fn entry(&mut self, line: &str, below: &[&str]) {
        let (left, right) = line.split_once("  ").unwrap_or((line, ""));
        let text: Vec<&str> = [right.trim()]
            .iter()
            .chain(below)
            .copied()
            .filter(|part| !part.is_empty())
            .collect();
        let text = text.join(" ");
        if !left.starts_with('-') {
            self.rows.push((left.to_owned(), text));
            return;
        }
        let mut names = Vec::new();
        let mut value = None;
        for word in left.split([',', ' ']).filter(|word| !word.is_empty()) {
            if word.starts_with('-') {
                names.push(word.to_owned());
            } else {
                value = Some(word.to_owned());
            }
        }
        self.options.push(Opt { names, value, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opt(names: &[&str], value: Option<&str>, text: &str) -> Opt {
        Opt {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            value: value.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    #[test]
    fn both_ways_of_writing_help_are_understood() {
        let page = Page::parse(
            "Usage: gfl put <local>\n       gfl put -\n\nUpload\n\nMore about it\nin two lines.\n\n  -q, --quiet     less\n  \
             --parallel N    how many\n                  at once\n  put      upload\n\nExamples:\n  gfl put a  b # c\n",
        );
        assert_eq!(page.usage.as_deref(), Some("gfl put <local>\ngfl put -"));
        assert_eq!(page.examples, ["gfl put a  b # c"]);
        assert_eq!(page.paragraphs, ["Upload", "More about it in two lines."]);
        assert_eq!(page.rows, [("put".to_owned(), "upload".to_owned())]);
        let want = [
            opt(&["-q", "--quiet"], None, "less"),
            opt(&["--parallel"], Some("N"), "how many at once"),
        ];
        assert_eq!(page.options, want);
        let go = Page::parse(
            "Usage of x:\n  -file string\n    \tToken file (default \"t\")\n  -on\n    \tswitch\n",
        );
        assert_eq!(go.usage.as_deref(), Some("x"));
        let want = [
            opt(&["-file"], Some("string"), "Token file (default \"t\")"),
            opt(&["-on"], None, "switch"),
        ];
        assert_eq!(go.options, want);
        assert!(go.options[0].takes_file() && !go.options[1].takes_file());
    }

    #[test]
    fn the_real_programs_are_understood() {
        let folder = super::super::tests::programs_folder();
        let all = programs(&folder).unwrap();
        let [gfl, admin, server] = &all[..] else {
            panic!("{all:?}");
        };
        let command = |program: &Program, name: &str| {
            let found = program.commands.iter().position(|c| c.name == name);
            found.unwrap_or_else(|| panic!("{} has no {name}", program.name))
        };
        let put = &gfl.commands[command(gfl, "put")];
        assert!(
            put.takes_files() && put.synopsis.starts_with("gfl put <local>"),
            "{put:?}"
        );
        assert!(
            put.options.iter().any(|o| o.names == ["-L", "--follow"]),
            "{put:?}"
        );
        assert!(
            put.options
                .iter()
                .any(|o| o.names == ["--parallel"] && o.value.is_some())
        );
        assert!(!put.description.is_empty() && put.options.iter().all(|o| !o.text.is_empty()));
        for name in [
            "get", "ls", "rm", "restore", "discover", "update", "config", "help",
        ] {
            command(gfl, name);
        }
        assert!(
            gfl.options
                .iter()
                .any(|o| o.names == ["-config"] && o.takes_file())
        );
        let create = &admin.commands[command(admin, "create")];
        assert!(
            create.synopsis.starts_with("gfl-admin create -user"),
            "{create:?}"
        );
        assert!(
            create
                .options
                .iter()
                .any(|o| o.names == ["-days"] && o.value.is_some())
        );
        command(admin, "list");
        command(admin, "revoke");
        assert!(server.commands.is_empty() && server.synopsis == "gfl-server");
        assert!(
            server
                .options
                .iter()
                .any(|o| o.names == ["-listen"] && !o.takes_file())
        );
        assert!(
            server
                .options
                .iter()
                .any(|o| o.names == ["-storage-dir"] && o.takes_file())
        );
    }
}
