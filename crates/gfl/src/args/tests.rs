use super::*;

fn words(line: &str) -> Vec<String> {
    line.split('|')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parsed(line: &str) -> Invocation {
    parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

#[test]
fn words_are_joined_as_in_v01() {
    for (line, want) in [
        ("ls", "/"),
        ("ls|", "/"),
        ("ls|my|docs", "my docs"),
        ("ls| docs ", "docs"),
        ("ls|--|-l", "-l"),
        ("ls|-x|a", "-x a"),
    ] {
        let Command::Ls { path, .. } = parsed(line).command else {
            panic!("{line}")
        };
        assert_eq!(path, want, "{line}");
    }
    let Command::Get { remote, local, .. } = parsed("get| a b |my|local|file").command else {
        panic!()
    };
    assert_eq!(
        (remote.as_str(), local.as_deref()),
        ("a b", Some("my local file"))
    );
    let Command::Rm { path } = parsed("rm|-rf|old|stuff").command else {
        panic!()
    };
    assert_eq!(path, "old stuff");
    let Command::Mkdir { path } = parsed("mkdir|a|b").command else {
        panic!()
    };
    assert_eq!(path, "a b");
    let Command::Put { words, .. } = parsed("put|-|to here").command else {
        panic!()
    };
    assert_eq!(words, ["-", "to here"]);
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
        let Command::Put { words, options } = invocation.command else {
            panic!()
        };
        assert_eq!(
            (words, options.parallel),
            (vec!["a".to_owned(), "b".to_owned()], 8),
            "{line}"
        );
    }
    let Command::Put { words, options } = parsed("put|--|a|--parallel|8").command else {
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
        Command::Restore { version: Some(v), path, list: false } if v == "abc" && path == "a b"));
}

#[test]
fn mistyped_options_do_not_become_names() {
    for line in [
        "put|a|b|--paralel|8",
        "put|a|b|-paralel=8",
        "ls|--nonsense",
        "get|a|b|--overwrit",
    ] {
        let Err(ArgsError::Flag(text)) = parse(&words(line)) else {
            panic!("{line}")
        };
        assert!(
            text.starts_with("flag provided but not defined: -"),
            "{text}"
        );
    }
    let Err(ArgsError::Flag(text)) = parse(&words("put|a|b|--paralel|8")) else {
        panic!()
    };
    assert!(text.contains("did you mean --parallel?"), "{text}");
}

#[test]
fn errors_are_those_of_v01() {
    let cases = [
        ("", ArgsError::NoCommand),
        ("-h", ArgsError::Help),
        ("--help", ArgsError::Help),
        ("frobnicate", ArgsError::Unknown("frobnicate".into())),
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
        assert_eq!(parse(&words(line)).unwrap_err(), want, "{line}");
    }
    assert!(matches!(
        parsed("-version").command,
        Command::Version { ask_server: false }
    ));
    assert!(matches!(parsed("put|-h").command, Command::Help { topic: Some(t) } if t == "put"));
}

#[test]
fn every_command_has_options_and_help() {
    for name in usage::COMMANDS.iter().map(|command| command.name) {
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

/// Options that are taken without being told of: what fingers type anyway, and what is so without them.
const UNTOLD: &[(&str, &[&str])] = &[
    ("put", &["recursive", "r"]),
    ("get", &["recursive", "r"]),
    ("cp", &["recursive", "r"]),
    ("rm", &["recursive", "r", "R", "f", "rf", "fr", "force"]),
    ("mkdir", &["p", "parents"]),
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
    for option in told(&overview) {
        assert!(
            options::front().iter().any(|o| o.name == option),
            "-{option} is not understood"
        );
    }
    for command in usage::COMMANDS {
        let (text, known) = (
            usage_of(Some(command.name)),
            options::of(command.name).unwrap(),
        );
        let untold = UNTOLD.iter().find(|(name, _)| *name == command.name);
        let untold = untold.map_or(&[][..], |(_, options)| options);
        for option in known {
            let is_told = told(&text).contains(&option.name);
            assert_ne!(
                is_told,
                untold.contains(&option.name),
                "gfl {} -{}: tell of it in the help or name it in UNTOLD",
                command.name,
                option.name
            );
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
}
