//! Man pages, in the macros of man(7). From a program's own help, what stands in `packaging/man/` about it, and the
//! table of configuration keys.

use super::help::{Opt, Program};
use anyhow::{Context, Result};
use gfl_api::config::keys::{KEYS, Key};
use std::fmt::Write;

/// The page of a program; `more` is the sections that no help has.
pub(super) fn page(program: &Program, more: &str, version: &str, date: &str) -> String {
    let mut page = title(program.name, program.section, version, date);
    let _ = writeln!(
        page,
        ".SH NAME\n{} \\- {}",
        text(program.name),
        text(program.summary)
    );
    let _ = writeln!(page, ".SH SYNOPSIS\n.nf");
    let has_commands = !program.commands.is_empty();
    let own = match has_commands {
        true => program.synopsis.clone(),
        false => format!("{} [options]", program.synopsis),
    };
    let _ = writeln!(page, "{}\n.fi", text(&own));
    paragraphs(&mut page, ".SH DESCRIPTION", &program.description);
    if has_commands {
        let _ = writeln!(page, ".SH COMMANDS");
        for command in &program.commands {
            let (first, others) = command
                .synopsis
                .split_once('\n')
                .unwrap_or((&command.synopsis, ""));
            let _ = writeln!(page, ".SS {}", text(first));
            verbatim(&mut page, others.lines());
            let _ = writeln!(page, "{}", line(&sentence(&command.summary)));
            paragraphs(&mut page, "", &command.description);
            options(&mut page, &command.options);
            if !command.examples.is_empty() {
                page.push_str(".PP\nExamples:\n");
                verbatim(&mut page, command.examples.iter().map(String::as_str));
            }
        }
    }
    let _ = writeln!(page, ".SH OPTIONS");
    options(&mut page, &program.options);
    page.push_str(more);
    page
}

/// goflux.json(5).
pub(super) fn config(version: &str, date: &str) -> String {
    let mut page = title("goflux.json", 5, version, date);
    page.push_str(
        ".SH NAME\ngoflux.json \\- configuration of GoFlux Lite\n.SH DESCRIPTION\n\
         One JSON file with the sections \\(lqserver\\(rq and \\(lqclient\\(rq, either of which may be missing.\n\
         Every key is optional.\nUnknown keys are reported and otherwise ignored.\n",
    );
    for section in ["server", "client"] {
        let _ = writeln!(page, ".SH SECTION {}", section.to_uppercase());
        for key in KEYS.iter().filter(|key| key.section == section) {
            key_entry(&mut page, key);
        }
    }
    page.push_str(".SH SEE ALSO\n.BR gfl (1),\n.BR gfl\\-admin (1),\n.BR gfl\\-server (8)\n");
    page
}

fn key_entry(page: &mut String, key: &Key) {
    let about = format!(
        "{}; default: {}; {}.",
        key.kind.shown(),
        key.default.shown(),
        key.takes_effect.shown()
    );
    let _ = writeln!(
        page,
        ".TP\n.B {}\n{}",
        text(key.name),
        line(&plain(key.meaning))
    );
    let _ = writeln!(page, ".br\n{}", line(&plain(&about)));
}

/// Without the marks of Markdown.
fn plain(markdown: &str) -> String {
    markdown.replace('`', "")
}

fn title(name: &str, section: u8, version: &str, date: &str) -> String {
    format!(
        ".\\\" Made by `cargo xtask dist` from the program's own help.\n.TH {} {section} {date} \"GoFlux Lite {version}\"\n",
        text(&name.to_uppercase())
    )
}

fn paragraphs(page: &mut String, heading: &str, paragraphs: &[String]) {
    for (at, paragraph) in paragraphs.iter().enumerate() {
        let before = if at == 0 && !heading.is_empty() {
            heading
        } else {
            ".PP"
        };
        let _ = writeln!(page, "{before}\n{}", line(paragraph));
    }
}

fn options(page: &mut String, options: &[Opt]) {
    for option in options {
        let names: Vec<String> = option
            .names
            .iter()
            .map(|n| format!("\\fB{}\\fR", text(n)))
            .collect();
        let value = option
            .value
            .as_ref()
            .map(|v| format!(" \\fI{}\\fR", text(v)));
        let _ = writeln!(
            page,
            ".TP\n{}{}",
            names.join(", "),
            value.unwrap_or_default()
        );
        let _ = writeln!(page, "{}", line(&option.text));
    }
}

/// Lines as they are.
fn verbatim<'a>(page: &mut String, lines: impl Iterator<Item = &'a str>) {
    let lines: String = lines.map(|written| line(written) + "\n").collect();
    if !lines.is_empty() {
        let _ = write!(page, ".nf\n{lines}.fi\n");
    }
}

fn sentence(summary: &str) -> String {
    let mut chars = summary.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

/// Text that cannot be taken for markup.
fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => safe.push_str("\\e"),
            '-' => safe.push_str("\\-"),
            '"' => safe.push_str("\\(dq"),
            '\'' => safe.push_str("\\(aq"),
            '`' => safe.push_str("\\(ga"),
            '~' => safe.push_str("\\(ti"),
            '^' => safe.push_str("\\(ha"),
            c => safe.push(c),
        }
    }
    safe
}

/// A line of text; one that begins like a request must not be one.
fn line(body: &str) -> String {
    let body = text(body);
    if body.starts_with(['.', '\'']) {
        format!("\\&{body}")
    } else {
        body
    }
}

/// What stands in the repository about a program beyond its help.
pub(super) fn more(program: &str) -> Result<String> {
    let path = gfl_e2e::bins::workspace()
        .join("packaging/man")
        .join(format!("{program}.man"));
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::help;
    use super::*;

    #[test]
    fn every_command_and_option_is_in_its_page() {
        let folder = super::super::tests::programs_folder();
        for program in help::programs(&folder).unwrap() {
            let page = page(
                &program,
                &more(program.name).unwrap(),
                "1.2.3",
                "2026-12-01",
            );
            for command in &program.commands {
                assert!(
                    page.contains(&format!(
                        ".SS {}\n",
                        text(command.synopsis.lines().next().unwrap())
                    )),
                    "{}",
                    command.name
                );
            }
            let of_commands = program.commands.iter().flat_map(|c| &c.options);
            for option in of_commands.chain(&program.options) {
                for name in &option.names {
                    assert!(page.contains(&format!("\\fB{}\\fR", text(name))), "{name}");
                }
            }
            let requests = page.lines().filter(|l| l.starts_with('.'));
            for request in requests {
                let known = [
                    ".\\\"", ".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".br", ".B", ".I",
                ];
                assert!(known.iter().any(|k| request.starts_with(k)), "{request}");
            }
        }
    }

    #[test]
    fn text_is_never_markup() {
        assert_eq!(line(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(line("a\\b -x 'y'"), "a\\eb \\-x \\(aqy\\(aq");
        assert_eq!(line("'br"), "\\(aqbr");
    }

    #[test]
    fn every_key_is_in_the_manual_of_the_configuration() {
        let page = config("1.2.3", "2026-12-01");
        for key in KEYS {
            assert!(
                page.contains(&format!(".B {}\n", text(key.name))),
                "{}",
                key.name
            );
        }
        assert!(!page.lines().skip(1).any(|line| line.contains('`')));
    }
}
