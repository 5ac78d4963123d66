//! Completions for bash, zsh and fish: commands, options and local files. Names on the server are not completed:
//! that would take a token and a network at every press of a key.

use super::help::{Opt, Program};
use std::fmt::Write;

/// For bash: a function that looks for the command among the words before the cursor.
pub(super) fn bash(program: &Program) -> String {
    let function = format!("_{}", program.name.replace('-', "_"));
    let names: Vec<&str> = program.commands.iter().map(|c| c.name.as_str()).collect();
    let mut script = format!(
        "# bash completion of {0}; made by `cargo xtask dist` from its own help\n{function}() {{\n    \
         local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n    \
         local commands=\"{1}\" options=\"{2}\"\n    local command=\"\" files=\"\" i\n",
        program.name,
        names.join(" "),
        spelled(&program.options)
    );
    if !names.is_empty() {
        script.push_str(
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n        \
             [[ \" $commands \" == *\" ${COMP_WORDS[i]} \"* ]] && command=\"${COMP_WORDS[i]}\" && break\n    done\n",
        );
        script.push_str("    case \"$command\" in\n");
        for command in &program.commands {
            let options = spelled(&command.options);
            let files = if command.takes_files() {
                " files=yes"
            } else {
                ""
            };
            let words = if command.name == "help" {
                " options=\"\" files=\"\"; [[ $before == help ]] && mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\") && return"
            } else {
                ""
            };
            let _ = writeln!(
                script,
                "        {}) options=\"{options} $options\"{files}{words} ;;",
                command.name
            );
        }
        script.push_str("    esac\n");
    }
    let _ = write!(
        script,
        "    case \"$before\" in\n{}    esac\n",
        values(program)
    );
    script.push_str(
        "    if [[ $word == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n    \
         elif [[ -z $command && -n $commands ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")\n    \
         elif [[ -n $files ]]; then\n        compopt -o filenames 2>/dev/null\n        \
         mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n    fi\n}\n",
    );
    let _ = writeln!(script, "complete -F {function} {}", program.name);
    script
}

/// What follows an option that takes a value.
fn values(program: &Program) -> String {
    let mut cases = String::new();
    for (files, body) in [
        (
            true,
            "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return",
        ),
        (false, "return"),
    ] {
        let mut names: Vec<&str> = all_options(program)
            .filter(|o| o.value.is_some() && o.takes_file() == files)
            .flat_map(|o| o.names.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            let _ = writeln!(cases, "        {}) {body} ;;", names.join(" | "));
        }
    }
    cases
}

fn all_options(program: &Program) -> impl Iterator<Item = &Opt> {
    let of_commands = program.commands.iter().flat_map(|c| &c.options);
    of_commands.chain(&program.options)
}

fn spelled(options: &[Opt]) -> String {
    let names = options
        .iter()
        .flat_map(|o| o.names.iter().map(String::as_str));
    names.collect::<Vec<_>>().join(" ")
}

/// For zsh: what is offered depends on the first command among the words.
pub(super) fn zsh(program: &Program) -> String {
    let mut script = format!(
        "#compdef {}\n# Made by `cargo xtask dist` from the program's own help.\n\
         local -a commands options\nlocal command files word\n",
        program.name
    );
    let _ = writeln!(script, "commands=(");
    for command in &program.commands {
        let _ = writeln!(script, "    {}", zsh_item(&command.name, &command.summary));
    }
    let _ = writeln!(script, ")\noptions=(\n{})", zsh_options(&program.options));
    script.push_str(
        "for word in ${words[2,CURRENT-1]}; do\n    \
         (( ${commands[(I)${word}:*]} )) && command=$word && break\ndone\ncase $command in\n",
    );
    for command in &program.commands {
        let files = if command.takes_files() {
            "\n        files=yes"
        } else {
            ""
        };
        let _ = writeln!(
            script,
            "    {})\n        options+=(\n{}        ){files}\n        ;;",
            command.name,
            zsh_options(&command.options)
        );
    }
    script.push_str("esac\n");
    script.push_str("case ${words[CURRENT-1]} in\n");
    for (files, body) in [(true, "_files; return"), (false, "_message value; return")] {
        let names: Vec<&str> = all_options(program)
            .filter(|o| o.value.is_some() && o.takes_file() == files)
            .flat_map(|o| o.names.iter().map(String::as_str))
            .collect();
        if !names.is_empty() {
            let _ = writeln!(script, "    {}) {body} ;;", names.join("|"));
        }
    }
    script.push_str(
        "esac\nif [[ ${words[CURRENT]} == -* ]]; then\n    _describe -o option options\n\
         elif [[ -z $command && ${#commands} -gt 0 ]]; then\n    _describe command commands\n\
         elif [[ $command == help ]]; then\n    _describe command commands\n\
         elif [[ -n $files ]]; then\n    _files\nfi\n",
    );
    script
}

fn zsh_options(options: &[Opt]) -> String {
    let items = options.iter().flat_map(|option| {
        let item = |name: &String| format!("    {}\n", zsh_item(name, &option.text));
        option.names.iter().map(item).collect::<Vec<_>>()
    });
    items.collect()
}

fn zsh_item(name: &str, text: &str) -> String {
    quoted(&format!("{name}:{}", text.replace(':', "\\:")))
}

/// For fish: one line for each thing that can be offered.
pub(super) fn fish(program: &Program) -> String {
    let name = program.name;
    let mut script =
        format!("# fish completion of {name}; made by `cargo xtask dist` from its own help\n");
    let commands: Vec<&str> = program.commands.iter().map(|c| c.name.as_str()).collect();
    if !commands.is_empty() {
        let _ = writeln!(script, "complete -c {name} -f");
        let _ = writeln!(script, "set -l commands {}", commands.join(" "));
    }
    for option in &program.options {
        fish_option(&mut script, name, "", option);
    }
    for command in &program.commands {
        let _ = writeln!(
            script,
            "complete -c {name} -n \"not __fish_seen_subcommand_from $commands\" -a {} -d {}",
            command.name,
            quoted(&command.summary)
        );
        let seen = format!(" -n '__fish_seen_subcommand_from {}'", command.name);
        if command.takes_files() {
            let _ = writeln!(script, "complete -c {name}{seen} -F");
        }
        if command.name == "help" {
            let _ = writeln!(script, "complete -c {name}{seen} -a \"$commands\"");
        }
        for option in &command.options {
            fish_option(&mut script, name, &seen, option);
        }
    }
    script
}

fn fish_option(script: &mut String, program: &str, condition: &str, option: &Opt) {
    let _ = write!(script, "complete -c {program}{condition}");
    for name in &option.names {
        let _ = match name.strip_prefix("--") {
            Some(long) => write!(script, " -l {long}"),
            None if name.len() == 2 => write!(script, " -s {}", &name[1..]),
            // One dash and a word, as Go has them.
            None => write!(script, " -o {}", &name[1..]),
        };
    }
    if option.value.is_some() {
        script.push_str(if option.takes_file() { " -r -F" } else { " -x" });
    }
    let _ = writeln!(script, " -d {}", quoted(&option.text));
}

/// One word for a shell. The quotes of a text become typographic ones: what zsh and fish make of a backslash in
/// quotes is not the same.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "’"))
}

#[cfg(test)]
mod tests {
    use super::super::help;
    use super::*;
    use std::process::Command;

    /// What bash offers at the end of a line.
    fn offered(script: &str, line: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("completion"), script).unwrap();
        std::fs::write(dir.path().join("a file.txt"), "").unwrap();
        let words: Vec<String> = line.split(' ').map(|w| format!("'{w}'")).collect();
        let function = format!("_{}", line.split(' ').next().unwrap().replace('-', "_"));
        let ask = format!(
            "set -u; . ./completion; COMP_WORDS=({}); COMP_CWORD={}; COMPREPLY=(); {function}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let output = Command::new("bash")
            .args(["-c", &ask])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn bash_completes() {
        let folder = super::super::tests::programs_folder();
        let all = help::programs(&folder).unwrap();
        let gfl = bash(&all[0]);
        assert_eq!(offered(&gfl, "gfl p"), ["put"]);
        assert_eq!(offered(&gfl, "gfl -config x.json dis"), ["discover"]);
        assert!(offered(&gfl, "gfl ").contains(&"restore".to_owned()));
        assert_eq!(offered(&gfl, "gfl put a --para"), ["--parallel"]);
        assert_eq!(offered(&gfl, "gfl rm --para"), Vec::<String>::new());
        assert_eq!(
            offered(&gfl, "gfl put --quie"),
            ["--quiet"],
            "global options too"
        );
        assert_eq!(offered(&gfl, "gfl -config a"), ["a file.txt"]);
        assert_eq!(offered(&gfl, "gfl put a"), ["a file.txt"]);
        assert_eq!(
            offered(&gfl, "gfl rm a"),
            Vec::<String>::new(),
            "those are the server's names"
        );
        assert_eq!(offered(&gfl, "gfl put --parallel a"), Vec::<String>::new());
        assert_eq!(offered(&gfl, "gfl help sta"), ["stat"]);
        assert_eq!(offered(&bash(&all[1]), "gfl-admin create -us"), ["-user"]);
        assert_eq!(
            offered(&bash(&all[2]), "gfl-server -storage-dir a"),
            ["a file.txt"]
        );
    }

    #[test]
    fn every_command_and_option_is_offered_in_every_shell() {
        let folder = super::super::tests::programs_folder();
        for program in help::programs(&folder).unwrap() {
            let (zsh, fish) = (zsh(&program), fish(&program));
            for command in &program.commands {
                assert!(
                    zsh.contains(&format!("'{}:", command.name)),
                    "{}",
                    command.name
                );
                assert!(
                    fish.contains(&format!(" -a {} -d ", command.name)),
                    "{}",
                    command.name
                );
            }
            for name in all_options(&program).flat_map(|o| &o.names) {
                assert!(zsh.contains(&format!("'{name}:")), "{name}");
                let bare = name.trim_start_matches('-');
                assert!(
                    ["l", "s", "o"]
                        .iter()
                        .any(|kind| fish.contains(&format!(" -{kind} {bare}"))),
                    "{name}"
                );
            }
            for script in [zsh, fish] {
                for line in script.lines().filter(|l| !l.starts_with('#')) {
                    assert!(line.matches('\'').count() % 2 == 0, "{line}");
                }
            }
        }
    }
}
