use super::super::{CLIENT_KEYS, Config, SERVER_KEYS};
use super::*;

fn parse(key: &Key, value: &str) -> Result<Config, String> {
    let text = format!(r#"{{"{}":{{"{}":{value}}}}}"#, key.section, key.name);
    let (config, warnings) = Config::parse(&text).map_err(|e| e.to_string())?;
    assert!(warnings.is_empty(), "{warnings:?}");
    Ok(config)
}

#[test]
fn the_table_has_every_key_that_is_read_and_no_other() {
    for (section, names) in [("server", SERVER_KEYS), ("client", CLIENT_KEYS)] {
        let keys = KEYS.iter().filter(|key| key.section == section);
        let mut shown: Vec<&str> = keys.map(|key| key.name).collect();
        let mut read = names.to_vec();
        shown.sort_unstable();
        read.sort_unstable();
        assert_eq!(shown, read, "{section}");
    }
}

#[test]
fn defaults_are_what_holds_without_the_key() {
    for key in KEYS {
        if let Json(value) = key.default {
            assert_eq!(parse(key, value), Ok(Config::default()), "{}", key.name);
        }
    }
}

#[test]
fn a_value_of_the_named_type_is_taken_and_no_other() {
    let samples = [
        (Text, r#""x""#),
        (Number, "1"),
        (Boolean, "true"),
        (Texts, r#"["x"]"#),
    ];
    for key in KEYS {
        for (kind, value) in samples {
            let takes = match key.kind {
                // A word that is none of the choices is refused as well.
                Choice(_) => false,
                own => own == kind,
            };
            assert_eq!(parse(key, value).is_ok(), takes, "{} = {value}", key.name);
        }
        if let Choice(words) = key.kind {
            for word in words {
                assert!(
                    parse(key, &format!("{word:?}")).is_ok(),
                    "{} = {word}",
                    key.name
                );
            }
        }
    }
}

#[test]
fn every_row_of_the_page_is_whole() {
    let page = markdown();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.clone().count(), KEYS.len());
    for row in rows {
        assert_eq!(row.matches('|').count(), 6, "{row}");
    }
}
