use super::*;

pub(super) fn args(config: &str) -> Args {
    Args {
        config: config.into(),
        ..Args::default()
    }
}

pub(super) fn found(server: &str) -> Found {
    let (config, _) = Config::parse(&format!("{{\"server\":{server}}}")).unwrap();
    Found {
        config,
        ..Found::default()
    }
}

#[test]
fn a_first_start_is_local_and_authenticated() {
    let missing = Found {
        missing: true,
        ..Found::default()
    };
    let plan = plan(&args("/etc/gfl/goflux.json"), missing);
    assert_eq!(plan.address, "127.0.0.1:8080");
    assert_eq!(
        plan.settings.tokens_file.as_deref(),
        Some(Path::new("/etc/gfl/tokens.json"))
    );
    assert!(plan.first_start);
    assert_eq!(plan.findings, []);
    assert!(
        plan.started("[::1]:5".parse().unwrap(), None)
            .ends_with("listening on [::1]:5\n")
    );
}

#[test]
fn an_old_configuration_is_obeyed_and_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let folders = format!(
        r#""storage_dir":{:?},"meta_dir":{:?}"#,
        dir.path().join("data"),
        dir.path().join("meta")
    );
    let config = format!(r#"{{"address":"0.0.0.0:80",{folders}}}"#);
    let mut plan = plan(&args("x"), found(&config));
    assert_eq!(plan.address, "0.0.0.0:80");
    assert!(plan.settings.tokens_file.is_none());
    plan.look();
    let told = texts(&plan);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("without TLS"), "{told:?}");
    assert!(told[1].contains("everybody in the network"), "{told:?}");
    assert!(!plan.is_refused());
    assert!(
        plan.started("127.0.0.1:1".parse().unwrap(), None)
            .contains("DISABLED")
    );
    assert!(
        plan.describe()
            .ends_with("warnings: 2; the server starts\n")
    );
    // Looking made nothing.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn texts(plan: &Plan) -> Vec<String> {
    plan.findings.iter().map(ToString::to_string).collect()
}

/// The findings of these arguments and this configuration, without a look at the machine.
fn doubts(args: &Args, server: &str) -> (bool, Vec<String>) {
    let plan = plan(args, found(server));
    (plan.is_refused(), texts(&plan))
}

#[test]
fn certificates_are_used_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let half = doubts(&args("x"), r#"{"tls_cert":"c"}"#);
    assert!(half.0 && half.1[0].contains("tls_key"), "{half:?}");
    // Half a certificate is no reason to serve without it.
    let consent = Args {
        plain_http: true,
        ..args("x")
    };
    assert!(doubts(&consent, r#"{"tls_cert":"c"}"#).0);
    let missing = path("missing.pem");
    let config = serde_json::json!({"tls_cert": missing, "tls_key": missing}).to_string();
    let mut plan = super::plan(&args("x"), found(&config));
    assert!(!plan.is_refused() && !plan.tls.plain);
    plan.look();
    let told = texts(&plan);
    let named = |text: &String| text.starts_with("server.tls_cert") && text.contains("missing.pem");
    assert!(plan.is_refused() && told.iter().any(named), "{told:?}");
    let public = |plain_http| Args {
        public: true,
        plain_http,
        ..args("x")
    };
    for plain_http in [false, true] {
        let plan = super::plan(&public(plain_http), found("{}"));
        assert!(!plan.is_refused() && plan.tls.self_signed().is_some());
        assert_eq!(plan.tls.plain, plain_http);
    }
}

#[test]
fn every_doubt_is_told_at_once() {
    let typed = Args {
        durability: Some("perhaps".into()),
        port: Some("65536".into()),
        ..args("x")
    };
    let (config, unknown) = Config::parse(
        r#"{"server":{"log_level":"loud","show_paths_in_config":true,"adress":"y"}}"#,
    )
    .unwrap();
    let plan = plan(
        &typed,
        Found {
            config,
            unknown,
            missing: false,
        },
    );
    assert!(plan.is_refused());
    assert_eq!(
        texts(&plan),
        [
            r#"x: unknown setting "server.adress" is ignored; did you mean "address""#,
            r#"-port "65536": is no port, write a number from 0 to 65535"#,
            r#"server.log_level "loud": is none of off, error, warn, info, debug, trace, and no list of modules with levels"#,
            r#"server.show_paths_in_config "true": GET /config tells everybody who asks the paths of this machine, without a token"#,
            r#"-durability "perhaps": is none of batch, strict, none"#,
        ]
    );
    assert!(
        plan.describe()
            .ends_with("errors: 3, warnings: 2; the server does not start\n")
    );
}

#[test]
fn values_arrive_in_their_units() {
    let config = r#"{"undo_days":1,"event_days":3,"event_rows_max":7,"upload_expiry_hours":2,"max_file_size":5,"durability":"none",
                     "storage_dir":"s","show_paths_in_config":true}"#;
    let plan = plan(&args("x"), found(config));
    assert_eq!(plan.settings.undo_ms, 86_400_000);
    assert_eq!(plan.settings.events_ms, 3 * 86_400_000);
    assert_eq!(plan.settings.events_rows_max, 7);
    assert_eq!(plan.settings.upload_expiry_ms, 7_200_000);
    assert_eq!(plan.settings.max_file_bytes, 5);
    assert_eq!(plan.settings.durability, Durable::None);
    assert_eq!(plan.about.storage_dir, "s");
    let (refused, told) = doubts(&args("x"), config);
    assert!(
        !refused && told.iter().any(|text| text.contains("power cut")),
        "{told:?}"
    );
}

#[test]
fn a_socket_that_was_passed_is_what_is_doubted() {
    let doubts = |passed: &str| {
        let args = Args {
            passed: Some(passed.parse().unwrap()),
            ..args("goflux.json")
        };
        let mut plan = plan(&args, found(r#"{"address":"127.0.0.1:8080"}"#));
        plan.look();
        assert_eq!(plan.address, passed);
        plan.findings
            .iter()
            .map(ToString::to_string)
            .filter(|finding| finding.contains("without TLS"))
            .collect::<Vec<_>>()
    };
    let missing = Found {
        missing: true,
        ..Found::default()
    };
    let args = Args {
        passed: Some("[::]:9000".parse().unwrap()),
        ..args("goflux.json")
    };
    let first = plan(&args, missing).server;
    assert_eq!(first.address, "127.0.0.1:8080", "what is written");
    assert_eq!(doubts("127.0.0.1:1"), [""; 0]);
    let [doubt] = &doubts("[::]:8080")[..] else {
        panic!("no doubt");
    };
    assert!(
        doubt.starts_with("ListenStream of the socket unit"),
        "{doubt}"
    );
}
