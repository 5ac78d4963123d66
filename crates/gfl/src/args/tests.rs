use super::*;

fn words(line: &str) -> Vec<String> {
    line.split('|')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parsed(line: &str) -> Invocation {
    parse(&words(line), |_| false).unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

/// The names of a command that takes some, each in brackets.
fn names_of(line: &str) -> String {
    let names = match parsed(line).command {
        Command::Ls { names, .. }
        | Command::Rm { names }
        | Command::Mkdir { names }
        | Command::Stat { names }
        | Command::Restore { names, .. } => names.paths,
        Command::Get { remotes, local, .. } => {
            return format!("{remotes:?} -> {}", local.unwrap_or_default());
        }
        other => panic!("{line}: {other:?}"),
    };
    format!("{names:?}")
}

#[test]
fn words_are_joined_as_in_v01() {
    for (line, want) in [
        ("ls", r#"["/"]"#),
        ("ls|", r#"["/"]"#),
        ("ls|my|docs", r#"["my docs"]"#),
        ("ls| docs ", r#"["docs"]"#),
        ("rm|-rf|old|stuff", r#"["old stuff"]"#),
        ("mkdir|a|b", r#"["a b"]"#),
        ("stat|a|b", r#"["a b"]"#),
        ("get| a b |my|local|file", r#"["a b"] -> my local file"#),
        ("get|a", r#"["a"] -> "#),
    ] {
        assert_eq!(names_of(line), want, "{line}");
    }
    let Command::Put {
        words,
        is_exact: false,
        ..
    } = parsed("put|-|to here").command
    else {
        panic!()
    };
    assert_eq!(words, ["-", "to here"]);
    let joined = |line: &str| match parsed(line).command {
        Command::Rm { names } => names.is_joined,
        Command::Get { is_joined, .. } => is_joined,
        other => panic!("{other:?}"),
    };
    assert!(joined("rm|a|b") && joined("get|a|b|c"));
    assert!(!joined("rm|a b") && !joined("rm|--|a|b") && !joined("get|a|b"));
}

#[test]
fn behind_two_dashes_every_word_is_a_name() {
    for (line, want) in [
        ("ls|--|-l", r#"["-l"]"#),
        ("rm|--|a|b c|-rf", r#"["a", "b c", "-rf"]"#),
        ("rm|a|--|b", r#"["a", "b"]"#),
        ("mkdir|-p|--| a ", r#"[" a "]"#),
        ("restore|--|a|b", r#"["a", "b"]"#),
        ("get|--|a", r#"["a"] -> "#),
        ("get|--|a|b", r#"["a"] -> b"#),
        ("get|--|a|b|to/", r#"["a", "b"] -> to/"#),
    ] {
        assert_eq!(names_of(line), want, "{line}");
    }
    assert_eq!(
        parse(&words("rm|--"), |_| false).unwrap_err(),
        ArgsError::Missing("rm")
    );
    // The shell gives an empty word for an unset variable, and the empty name is the root.
    let empty = ["rm", "--", "a", ""].map(str::to_owned);
    assert_eq!(
        parse(&empty, |_| false).unwrap_err(),
        ArgsError::Missing("rm")
    );
}

#[test]
fn short_switches_may_stand_together() {
    for line in ["ls|-lr|d", "ls|-rl|d", "ls|-l|-r|d", "ls|d|-lrq"] {
        let invocation = parsed(line);
        assert_eq!(invocation.voice.quiet, line.ends_with('q'), "{line}");
        let Command::Ls {
            names,
            long: true,
            recursive: true,
        } = invocation.command
        else {
            panic!("{line}")
        };
        assert_eq!(names.paths, ["d"]);
    }
    let Command::Put { options, .. } = parsed("put|-rL|a|b").command else {
        panic!()
    };
    assert!(options.follow);
    // Long options keep their one dash.
    assert_eq!(names_of("ls|-long|d"), r#"["d"]"#);
    assert_eq!(names_of("ls|--|-lr"), r#"["-lr"]"#);
}

#[test]
fn known_options_are_found_anywhere_until_two_dashes() {
    for line in [
        "-config|c.json|put|a|b|--parallel|8",
        "put|a|--parallel=8|b|-config|c.json",
        "put|-parallel|0x8|a|-config=c.json|b",
    ] {
        let invocation = parsed(line);
        assert_eq!(invocation.config.as_deref(), Some("c.json"), "{line}");
        let Command::Put { words, options, .. } = invocation.command else {
            panic!()
        };
        assert_eq!(
            (words, options.parallel),
            (vec!["a".to_owned(), "b".to_owned()], 8),
            "{line}"
        );
    }
    let Command::Put { words, options, .. } = parsed("put|--|a|--parallel|8").command else {
        panic!()
    };
    assert_eq!((words.len(), options.parallel), (3, PARALLEL_DEFAULT));
    let invocation = parsed("ls|-l|-r|--json|docs|-q=false|-v");
    assert_eq!(
        invocation.voice,
        Voice {
            quiet: false,
            json: true,
            verbose: true
        }
    );
    assert!(matches!(
        invocation.command,
        Command::Ls {
            long: true,
            recursive: true,
            ..
        }
    ));
    assert!(matches!(parsed("restore|--version|abc|a|b").command,
        Command::Restore { version: Some(v), names, list: false } if v == "abc" && names.paths == ["a b"]));
}

#[test]
fn mistyped_options_do_not_become_names() {
    for line in [
        "put|a|b|--paralel|8",
        "put|a|b|-paralel=8",
        "ls|--nonsense",
        "get|a|b|--overwrit",
        "ls|-la",
        "ls|-lx",
        "rm|-i|z",
        "get|-f",
        "mkdir|-x|a",
    ] {
        let Err(ArgsError::Word { text, hint }) = parse(&words(line), |_| false) else {
            panic!("{line}")
        };
        assert!(
            text.starts_with("flag provided but not defined: -"),
            "{text}"
        );
        assert!(hint.ends_with("goes behind `--`"), "{hint}");
    }
    let Err(ArgsError::Word { text, .. }) = parse(&words("put|a|b|--paralel|8"), |_| false) else {
        panic!()
    };
    assert!(text.contains("did you mean --parallel?"), "{text}");
}

#[test]
fn a_local_file_may_begin_with_a_dash() {
    let is_here = |word: &str| word == "-x";
    let Ok(Invocation {
        command: Command::Put { words: names, .. },
        ..
    }) = parse(&words("put|-x|b"), is_here)
    else {
        panic!()
    };
    assert_eq!(names, ["-x", "b"]);
    // What is on the server is not asked of this machine.
    assert!(parse(&words("rm|-x"), is_here).is_err());
}

#[test]
fn options_in_front_of_the_command_are_those_behind_it() {
    let parallel = |line: &str| match parsed(line).command {
        Command::Put { options, .. } => (options.parallel, options.follow),
        other => panic!("{other:?}"),
    };
    assert_eq!(parallel("--parallel|2|put|a|b"), (2, false));
    assert_eq!(parallel("-rL|-parallel=3|-q|put|a|b"), (3, true));
    assert!(matches!(
        parsed("-lr|ls|docs").command,
        Command::Ls {
            long: true,
            recursive: true,
            ..
        }
    ));
    assert!(matches!(parsed("-l|update").command, Command::Update(wish) if wish.local));
    // What the command behind it does not know, nobody knows.
    let of = |line: &str| parse(&words(line), |_| false).unwrap_err();
    let unknown = |name: &str| ArgsError::Flag(format!("flag provided but not defined: -{name}"));
    assert_eq!(of("--parallel|2|ls"), unknown("parallel"));
    assert_eq!(of("-lx|ls"), unknown("lx"));
    // `-version` is v0.1's.
    assert!(matches!(
        parsed("--version|restore|a").command,
        Command::Version { ask_server: false }
    ));
}

#[test]
fn errors_are_those_of_v01() {
    let cases = [
        ("", ArgsError::NoCommand),
        ("-h", ArgsError::Help),
        ("--help", ArgsError::Help),
        ("frobnicate", ArgsError::Unknown("frobnicate".into())),
        ("help|frob", ArgsError::Topic("frob".into())),
        ("put|a", ArgsError::Missing("put")),
        ("get", ArgsError::Missing("get")),
        ("rm", ArgsError::Missing("rm")),
        ("mv|a", ArgsError::Missing("mv")),
        (
            "-x|ls",
            ArgsError::Flag("flag provided but not defined: -x".into()),
        ),
        (
            "-config",
            ArgsError::Flag("flag needs an argument: -config".into()),
        ),
        (
            "put|a|b|-parallel",
            ArgsError::Flag("flag needs an argument: -parallel".into()),
        ),
        (
            "put|a|b|--parallel|0",
            ArgsError::Flag(
                "invalid value \"0\" for flag -parallel: give a number from 1 to 64".into(),
            ),
        ),
        (
            "put|a|b|--retries|x",
            ArgsError::Flag("invalid value \"x\" for flag -retries: parse error".into()),
        ),
        (
            "put|a|b|--overwrite|--no-clobber",
            ArgsError::Flag("--overwrite and --no-clobber exclude each other".into()),
        ),
    ];
    for (line, want) in cases {
        assert_eq!(parse(&words(line), |_| false).unwrap_err(), want, "{line}");
    }
    assert!(matches!(
        parsed("-version").command,
        Command::Version { ask_server: false }
    ));
    assert!(matches!(parsed("put|-h").command, Command::Help { topic: Some(t) } if t == "put"));
}

#[test]
fn every_command_has_options_and_help() {
    let all: Vec<&str> = usage::COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(all, options::COMMANDS);
    for name in all {
        assert!(options::of(name).is_some(), "{name}");
        assert!(usage_of(Some(name)).contains(&format!("gfl {name}")));
        assert!(usage_of(None).contains(name));
    }
}

#[test]
fn short_options_of_update_are_those_of_v01() {
    let update = |line: &str| match parsed(line).command {
        Command::Update(update) => update,
        other => panic!("{other:?}"),
    };
    let local = Update {
        local: true,
        ..Update::default()
    };
    assert_eq!(
        (update("update|-l"), update("update|--local")),
        (local, local)
    );
    assert_eq!(
        update("update|whatever"),
        Update::default(),
        "extra words are ignored"
    );
    let all = update("update|-y|--check|--downgrade|-l=false");
    assert!(all.yes && all.check && all.downgrade && !all.local);
    assert!(matches!(
        parsed("discover").command,
        Command::Discover { wait: false }
    ));
    assert!(matches!(
        parsed("discover|--wait").command,
        Command::Discover { wait: true }
    ));
}

#[test]
fn the_help_is_complete_and_its_examples_can_be_typed() {
    for command in usage::COMMANDS {
        let help = usage_of(Some(command.name));
        for option in options::of(command.name).unwrap_or_default() {
            let dashes = if option.name.len() == 1 { "-" } else { "--" };
            // Spellings of what is told under its short name.
            let is_alias = ["recursive", "parents", "R", "rf", "fr"].contains(&option.name)
                || (command.name == "rm" && option.name == "force");
            assert!(
                is_alias || help.contains(&format!("{dashes}{}", option.name)),
                "gfl help {}: {dashes}{}",
                command.name,
                option.name
            );
        }
        assert!(!command.examples.is_empty());
        for example in command.examples {
            let line = example.split('#').next().unwrap_or_default();
            let typed = &line[line.find("gfl ").unwrap()..];
            let typed = typed.split('|').next().unwrap_or_default().trim();
            let typed = typed.replace("'my photos'", "my-photos").replace('\'', "");
            let words: Vec<String> = typed
                .split_whitespace()
                .skip(1)
                .map(str::to_owned)
                .collect();
            assert!(
                parse(&words, |_| false).is_ok(),
                "{example}: {:?}",
                parse(&words, |_| false)
            );
        }
    }
    let all = usage_of(None);
    for option in options::GLOBAL {
        assert!(
            all.contains(&format!("-{}", option.name)),
            "{}",
            option.name
        );
    }
    let wide = |line: &str| line.chars().count() > 120;
    assert!(!all.lines().any(wide));
}

/// Options that are taken without being told of: what fingers type anyway, and what is so without them.
const UNTOLD: &[(&str, &[&str])] = &[
    ("put", &["recursive"]),
    ("get", &["recursive"]),
    ("cp", &["recursive"]),
    ("rm", &["recursive", "R", "rf", "fr", "force"]),
    ("mkdir", &["parents"]),
];

/// Names of options in a help text, those in front of an explanation first.
fn told(text: &str) -> Vec<&str> {
    let words = text.split([' ', ',', '(', ')', '\n', ';', '`']);
    let options = words.filter(|word| word.starts_with('-') && *word != "-" && *word != "--");
    options.map(|word| word.trim_start_matches('-')).collect()
}

#[test]
fn help_and_parser_know_the_same_options() {
    let overview = usage_of(None);
    for option in options::front() {
        assert!(
            told(&overview).contains(&option.name),
            "-{} is not in the help",
            option.name
        );
    }
    // Go's flags know these of themselves.
    for option in told(&overview)
        .into_iter()
        .filter(|o| !["h", "help"].contains(o))
    {
        let is_one = options::front().iter().any(|o| o.name == option);
        // Short ones may stand together.
        let of_ls = options::of("ls").unwrap();
        let are_some = option
            .chars()
            .all(|c| of_ls.iter().any(|o| o.name == c.to_string()));
        assert!(is_one || are_some, "-{option} is not understood");
    }
    let mut wrong = Vec::new();
    for command in usage::COMMANDS {
        let (text, known) = (
            usage_of(Some(command.name)),
            options::of(command.name).unwrap(),
        );
        let untold = UNTOLD.iter().find(|(name, _)| *name == command.name);
        let untold = untold.map_or(&[][..], |(_, options)| options);
        for option in known {
            if told(&text).contains(&option.name) == untold.contains(&option.name) {
                wrong.push(format!("gfl {} -{}", command.name, option.name));
            }
        }
        let listed = text.lines().filter(|line| line.starts_with("  -"));
        for option in listed.flat_map(|line| told(line.trim().split("  ").next().unwrap())) {
            let mut all = known.iter().chain(options::GLOBAL);
            assert!(
                all.any(|o| o.name == option),
                "gfl {} -{option} is not understood",
                command.name
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "tell of them in the help or name them in UNTOLD: {wrong:?}"
    );
}
