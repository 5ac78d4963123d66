use super::*;

fn parse(text: &str) -> Config {
    let (config, warnings) = Config::parse(text).unwrap();
    assert_eq!(warnings, [], "{text}");
    config
}

#[test]
fn the_default_file_is_that_of_v0_1() {
    let text = Config::default_text("192.168.1.5:8080");
    assert_eq!(
        text,
        r#"{
  "server": {
    "address": "192.168.1.5:8080",
    "storage_dir": "./data",
    "meta_dir": "./.goflux-meta",
    "tokens_file": "",
    "tls_cert": "",
    "tls_key": ""
  },
  "client": {
    "server_url": "http://localhost",
    "chunk_size": 1048576,
    "token": ""
  }
}"#
    );
    let config = parse(&text);
    assert_eq!(config.server.address, "192.168.1.5:8080");
    assert_eq!(config.client, ClientConfig::default());
}

#[test]
fn missing_null_and_empty_give_defaults() {
    for text in [
        "{}",
        "null",
        r#"{"server":null,"client":{}}"#,
        r#"{"server":{"address":"","storage_dir":null,"log":null},"client":{"chunk_size":0,"server_url":""}}"#,
    ] {
        assert_eq!(parse(text), Config::default(), "{text}");
    }
}

#[test]
fn keys_in_any_case_and_the_last_holds() {
    let config = parse(
        r#"{"SERVER":{"Address":"a:1","ADDRESS":"b:2","meta_dir":"m"},"server":{"storage_dir":"s","address":null},
            "Client":{"Token":"t","chunk_size":5}}"#,
    );
    let server = ServerConfig {
        address: "b:2".into(),
        meta_dir: "m".into(),
        storage_dir: "s".into(),
        ..ServerConfig::default()
    };
    assert_eq!(config.server, server);
    assert_eq!(
        (config.client.token.as_str(), config.client.chunk_size),
        ("t", 5)
    );
}

#[test]
fn every_new_key() {
    let config = parse(
        r#"{"server":{"durability":"Strict","undo_days":0,"undo_free_percent_min":5,"event_days":30,"event_rows_max":1000,"upload_expiry_hours":48,
            "max_file_size":1099511627776,"log":"json","log_level":"debug","show_paths_in_config":true,
            "connections_max":9,"connections_per_address_max":0,"trusted_proxies":["10.0.0.0/8","::1"],
            "drain_seconds":5,"drain_notice_seconds":6,"metrics":"permission","access_log_days":3}}"#,
    );
    let want = ServerConfig {
        durability: Durability::Strict,
        undo_days: 0,
        undo_free_percent_min: 5,
        event_days: 30,
        event_rows_max: 1000,
        upload_expiry_hours: 48,
        max_file_size: 1 << 40,
        log: LogFormat::Json,
        log_level: "debug".into(),
        show_paths_in_config: true,
        connections_max: 9,
        connections_per_address_max: 0,
        trusted_proxies: vec!["10.0.0.0/8".into(), "::1".into()],
        drain_seconds: 5,
        drain_notice_seconds: 6,
        metrics: MetricsAccess::Permission,
        access_log_days: 3,
        ..ServerConfig::default()
    };
    assert_eq!(config.server, want);
}

#[test]
fn unknown_keys_are_named() {
    let text = r#"{"server":{"adress":"x","frobnicate":{}},"client":{"tokens":1,"Storage_Dir":"x"},
        "sever":{},"$schema":"","tokens_file":"t"}"#;
    let (_, warnings) = Config::parse(text).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            r#"unknown setting "server.adress" is ignored; did you mean "address""#,
            r#"unknown setting "server.frobnicate" is ignored"#,
            r#"unknown setting "client.tokens" is ignored; did you mean "token""#,
            r#"unknown setting "client.Storage_Dir" is ignored; did you mean "server.storage_dir""#,
            r#"unknown setting "sever" is ignored; did you mean "server""#,
            r#"unknown setting "$schema" is ignored"#,
            r#"unknown setting "tokens_file" is ignored; did you mean "server.tokens_file""#,
        ]
    );
}

#[test]
fn errors_name_the_key() {
    for (text, want) in [
        (
            r#"{"server":{"address":8080}}"#,
            "server.address is a number; make it a string",
        ),
        (
            r#"{"client":{"chunk_size":"1M"}}"#,
            "client.chunk_size is a string; make it a whole number",
        ),
        (
            r#"{"client":{"chunk_size":1.5}}"#,
            "client.chunk_size must be a whole number from 0 to 18446744073709551615",
        ),
        (
            r#"{"server":{"undo_days":-1}}"#,
            "server.undo_days must be a whole number from 0 to 4294967295",
        ),
        (
            r#"{"server":{"undo_free_percent_min":101}}"#,
            "server.undo_free_percent_min must be a whole number from 0 to 100",
        ),
        (
            r#"{"server":{"durability":"fast"}}"#,
            "server.durability is \"fast\"; choose one of batch, strict, none",
        ),
        (
            r#"{"server":{"show_paths_in_config":"yes"}}"#,
            "server.show_paths_in_config is a string; make it true or false",
        ),
        (
            r#"{"server":{"trusted_proxies":"10.0.0.1"}}"#,
            "server.trusted_proxies is a string; make it a list of strings",
        ),
        (
            r#"{"server":{"trusted_proxies":["10.0.0.1",1]}}"#,
            "server.trusted_proxies is an array; make it a list of strings",
        ),
        (r#"{"server":[]}"#, "server is an array; make it an object"),
        ("[]", "the file is an array; make it an object"),
    ] {
        assert_eq!(Config::parse(text).unwrap_err().to_string(), want);
    }
    for bad in ["", "{", "{}x", "\u{feff}{}"] {
        assert!(
            matches!(Config::parse(bad), Err(ConfigError::Syntax(_))),
            "{bad}"
        );
    }
}

#[test]
fn a_certificate_comes_from_one_place() {
    let tls = |text: &str| parse(&format!(r#"{{"server":{{{text}}}}}"#)).server.tls;
    assert_eq!(tls("").source(), Ok(None));
    assert_eq!(
        tls(r#""tls_cert":"c","tls_key":"k""#).source(),
        Ok(Some(CertificateSource::Files {
            cert: "c",
            key: "k"
        }))
    );
    assert_eq!(
        tls(r#""tls_self_signed":true"#).source(),
        Ok(Some(CertificateSource::SelfSigned))
    );
    let acme = tls(
        r#""acme_domains":["a.example"],"acme_email":"x@a.example","acme_accept_terms":true,"acme_address":"",
           "acme_ca_file":"ca.pem","plain_http":"allow""#,
    );
    let want = AcmeConfig {
        domains: vec!["a.example".into()],
        email: "x@a.example".into(),
        accept_terms: true,
        ca_file: "ca.pem".into(),
        ..AcmeConfig::default()
    };
    assert_eq!(acme.source(), Ok(Some(CertificateSource::Acme(&want))));
    assert_eq!(acme.plain_http, Some(PlainHttp::Allow));
    for (half, missing) in [
        (r#""tls_cert":"c""#, "tls_key"),
        (r#""tls_key":"k""#, "tls_cert"),
    ] {
        let error = tls(half).source().unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
    let both = tls(r#""tls_cert":"c","tls_key":"k","tls_self_signed":true"#);
    assert_eq!(both.source(), Err(ConfigError::SeveralCertificates));
    let error = Config::parse(r#"{"server":{"acme_domains":["a",1]}}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server.acme_domains is an array; make it a list of strings"
    );
}

#[test]
fn setting_the_server_keeps_the_rest() {
    let text =
        r#"{"x":[1],"server":{"address":"a"},"Client":{"token":"t","Server_URL":"old","more":{}}}"#;
    let set = set_client_server(text, "https://h").unwrap();
    let want = r#"{"x":[1],"server":{"address":"a"},"Client":{"token":"t","Server_URL":"https://h","more":{}}}"#;
    assert_eq!(set, Node::parse(want).unwrap().to_text());
    assert_eq!(
        set_client_server(" ", "http://h:1").unwrap(),
        "{\n  \"client\": {\n    \"chunk_size\": 1048576,\n    \"server_url\": \"http://h:1\",\n    \"token\": \"\"\n  }\n}"
    );
    let from_null = set_client_server(r#"{"client":null}"#, "u").unwrap();
    assert_eq!(parse(&from_null).client.server_url, "u");
    assert_eq!(
        parse(&set_client_text("", "token", "t").unwrap())
            .client
            .token,
        "t"
    );
    for bad in ["{", "[]", r#"{"client":[]}"#] {
        assert!(set_client_server(bad, "u").is_err(), "{bad}");
    }
    for (url, want) in [
        ("h:80", "http://h:80"),
        ("https://h/", "https://h"),
        (" http://h ", "http://h"),
    ] {
        assert_eq!(normalize_server_url(url), want);
    }
}
