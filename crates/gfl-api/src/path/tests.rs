use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> String {
    FilePath::parse(text).unwrap().as_str().to_owned()
}

#[test]
fn strict_rule() {
    assert!(FilePath::parse("").unwrap().is_root());
    assert!(FilePath::parse("/").unwrap().is_root());
    for good in [
        "a",
        "a/b",
        ".hidden",
        "...",
        "a b/ü/日本",
        "a\\b",
        "x/.gfl",
        ".gflx",
        "a\nb",
    ] {
        assert_eq!(parse(good), good);
    }
    type Kind = fn(Shown) -> PathError;
    let bad: &[(&str, Kind)] = &[
        ("/a", PathError::EmptySegment),
        ("a/", PathError::EmptySegment),
        ("a//b", PathError::EmptySegment),
        ("//", PathError::EmptySegment),
        (".", PathError::DotSegment),
        ("a/../b", PathError::DotSegment),
        ("a\0", PathError::Nul),
        (".gfl", PathError::Reserved),
        (".GFL/x", PathError::Reserved),
    ];
    for (text, kind) in bad {
        assert_eq!(
            FilePath::parse(text),
            Err(kind(Shown::new(text))),
            "{text:?}"
        );
    }
}

#[test]
fn limits_of_length() {
    assert!(FilePath::parse(&"n".repeat(255)).is_ok());
    assert!(matches!(
        FilePath::parse(&"n".repeat(256)),
        Err(PathError::NameTooLong(_))
    ));
    let long = vec!["n".repeat(200); 21].join("/");
    assert!(matches!(FilePath::parse(&long), Err(PathError::TooLong(_))));
    assert!(FilePath::parse(&vec!["d"; 255].join("/")).is_ok());
    assert!(matches!(
        FilePath::parse(&vec!["d"; 256].join("/")),
        Err(PathError::TooDeep(_))
    ));
    let deep = FilePath::parse(&vec!["d"; 255].join("/")).unwrap();
    assert!(matches!(deep.join("x"), Err(PathError::TooDeep(_))));
}

#[test]
fn v0_rule() {
    let good = [
        ("/../x", "x"),
        ("dir/", "dir"),
        ("", ""),
        ("/", ""),
        (".", ""),
        ("a/..", ""),
        ("/a//b/./c/../d", "a/b/d"),
        ("\\a", "a"),
        ("/\\a", "a"),
        ("\\/a", "a"),
        ("\\\\a", "\\a"),
        ("a\\b", "a\\b"),
    ];
    for (text, want) in &good {
        assert_eq!(
            FilePath::parse_v0(text).unwrap().as_str(),
            *want,
            "{text:?}"
        );
    }
    for bad in ["../x", "a/../../x", "..", "\\../x", "\\.."] {
        assert!(
            matches!(FilePath::parse_v0(bad), Err(PathError::Traversal(_))),
            "{bad:?}"
        );
    }
    assert!(matches!(
        FilePath::parse_v0("/./.gfl/drafts"),
        Err(PathError::Reserved(_))
    ));
    assert!(matches!(
        FilePath::parse_v0("\\.Gfl"),
        Err(PathError::Reserved(_))
    ));
}

#[test]
fn url_rule() {
    let (path, slash) = FilePath::from_url("a%20b/%C3%BC+c/").unwrap();
    assert_eq!((path.as_str(), slash), ("a b/ü+c", true));
    assert_eq!(path.to_url(), "a%20b/%C3%BC%2Bc");
    assert_eq!(FilePath::from_url("").unwrap(), (FilePath::root(), true));
    assert!(!FilePath::from_url("x").unwrap().1);
    for bad in [
        "a%2Fb", "%2e%2E/x", "a/%2e", "a%00", "%", "%4", "%zz", "%ff", "a//b", "/a", "//",
        "%2egfl/x",
    ] {
        assert!(FilePath::from_url(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn parts_of_a_path() {
    let p = FilePath::parse("a/b/c").unwrap();
    assert_eq!(p.name(), Some("c"));
    assert_eq!(p.parent().unwrap().as_str(), "a/b");
    assert_eq!(
        FilePath::parse("a").unwrap().parent(),
        Some(FilePath::root())
    );
    assert_eq!(FilePath::root().parent(), None);
    assert_eq!(FilePath::root().name(), None);
    let above: Vec<_> = p.ancestors().map(|a| a.as_str().to_owned()).collect();
    assert_eq!(above, ["a", "a/b"]);
    assert_eq!(p.components().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(FilePath::root().components().count(), 0);
    assert_eq!(p.depth(), 3);
    assert_eq!(
        format!("{p} {} {p:?}", FilePath::root()),
        "a/b/c / \"a/b/c\""
    );
    let ab = FilePath::parse("a/b").unwrap();
    assert!(p.starts_with(&ab) && p.starts_with(&p) && p.starts_with(&FilePath::root()));
    assert!(!FilePath::parse("a/bc").unwrap().starts_with(&ab));
    assert!(!FilePath::root().starts_with(&ab));
}

#[test]
fn joining() {
    let a = FilePath::parse("a").unwrap();
    assert_eq!(a.join("b").unwrap().as_str(), "a/b");
    assert_eq!(FilePath::root().join("b").unwrap().as_str(), "b");
    assert!(matches!(
        FilePath::root().join(".Gfl"),
        Err(PathError::Reserved(_))
    ));
    assert_eq!(a.join(".gfl").unwrap().as_str(), "a/.gfl");
    assert!(matches!(a.join("x/y"), Err(PathError::Separator(_))));
    for bad in ["", ".", "..", "x\0"] {
        assert!(a.join(bad).is_err());
    }
    assert_eq!(a.join_path(&FilePath::root()).unwrap(), a);
    assert_eq!(FilePath::root().join_path(&a).unwrap(), a);
    assert_eq!(
        a.join_path(&FilePath::parse("b/c").unwrap())
            .unwrap()
            .as_str(),
        "a/b/c"
    );
    let hidden = FilePath::parse("x/.gfl").unwrap();
    assert_eq!(a.join_path(&hidden).unwrap().as_str(), "a/x/.gfl");
}

#[test]
fn messages_are_safe_to_print() {
    let error = FilePath::parse(&format!("a\x1b[31m/{}", "é".repeat(400)))
        .unwrap_err()
        .to_string();
    assert!(!error.contains('\x1b') && error.len() < 300, "{error}");
    assert!(!error.ends_with('.'));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_obeys_the_rules(text in "(\\PC|[./\\\\\0%]){0,40}") {
        for parsed in [
            FilePath::parse(&text),
            FilePath::parse_v0(&text),
            FilePath::from_url(&text).map(|(path, _)| path),
        ].into_iter().flatten() {
            prop_assert_eq!(&FilePath::parse(parsed.as_str()).unwrap(), &parsed);
            if !parsed.as_str().starts_with('\\') {
                prop_assert_eq!(&FilePath::parse_v0(&format!("/{parsed}")).unwrap(), &parsed);
            }
            prop_assert!(parsed.components().all(|n| !n.is_empty() && n != "." && n != ".." && !n.contains('\0')));
            prop_assert_eq!(&FilePath::from_url(&parsed.to_url()).unwrap().0, &parsed);
        }
    }

    #[test]
    fn parent_and_name_rejoin(names in prop::collection::vec("[a-c.]{1,4}", 1..6)) {
        if let Ok(path) = FilePath::parse(&names.join("/")) {
            let again = path.parent().unwrap().join(path.name().unwrap()).unwrap();
            prop_assert_eq!(&again, &path);
            prop_assert_eq!(path.depth(), names.len());
            prop_assert_eq!(path.ancestors().last().unwrap_or_default(), path.parent().unwrap());
        }
    }
}
