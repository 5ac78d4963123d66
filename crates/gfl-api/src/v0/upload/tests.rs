use super::*;
use proptest::prelude::*;

fn decode_in(text: &[u8], piece: usize) -> Result<(UploadMessage, Vec<u8>), V0Error> {
    let (mut decoder, mut out) = (UploadDecoder::new(), Vec::new());
    for piece in text.chunks(piece) {
        let before = out.len();
        decoder.push(piece, &mut out)?;
        assert!(out.len() - before <= piece.len() + 2);
    }
    assert_eq!(decoder.data_bytes(), out.len() as u64);
    decoder.finish().map(|message| (message, out))
}

/// Decodes whole and byte by byte, which must not differ.
fn decode(text: impl AsRef<[u8]>) -> Result<(UploadMessage, Vec<u8>), V0Error> {
    let whole = decode_in(text.as_ref(), usize::MAX >> 1);
    for piece in [1, 2, 3, 7] {
        assert_eq!(decode_in(text.as_ref(), piece), whole);
    }
    whole
}

fn message(path: &str, chunk_id: i64, checksum: &str, total: i64) -> UploadMessage {
    UploadMessage {
        path: path.into(),
        chunk_id,
        checksum: checksum.into(),
        total,
    }
}

#[test]
fn messages_that_go_accepts() {
    let data = |text: &str| decode(text).unwrap().1;
    let read = |text: &str| decode(text).unwrap().0;
    let full = r#"{"path":"a/b.txt","chunk_id":1,"data":"aGVsbG8=","checksum":"abc","total":3}"#;
    assert_eq!(
        decode(full).unwrap(),
        (message("a/b.txt", 1, "abc", 3), b"hello".to_vec())
    );
    for empty in [
        "{}",
        "null",
        " { } ",
        r#"{"data":null,"path":null}"#,
        r#"{"x":{"data":"!"},"y":[[{}],1.5e-3]}"#,
    ] {
        assert_eq!(
            decode(empty).unwrap(),
            (UploadMessage::default(), vec![]),
            "{empty}"
        );
    }
    assert_eq!(data(r#"{"data":"aGVs\nbG8\u003d"}"#), b"hello");
    assert_eq!(data(r#"{"DATA":"\/\/\u002b+\r\n"}"#), [0xff, 0xff, 0xbe]);
    assert_eq!(data(r#"{"data":"YR=="}"#), b"a");
    assert_eq!(data(r#"{"data":[104, 105,null]}"#), b"hi\0");
    assert_eq!(data(r#"{"data":[]}"#), b"");
    assert_eq!(read(r#"{"Path":"a","PATH":"b","path":null}"#).path, "b");
    assert_eq!(
        read("{\"chec\u{212a}\u{17f}um\":\"c\",\"chun\\u212a_id\":-7}"),
        message("", -7, "c", 0)
    );
    assert_eq!(
        read(r#"{"path":"\ud83d\ude00\ud83dx\ude00\u00e9\"\\\b\f\t"}"#).path,
        "😀\u{fffd}x\u{fffd}é\"\\\u{8}\u{c}\t"
    );
    assert_eq!(
        read(r#"{"path":"\ud800\ud83d\ude00\ud800"}"#).path,
        "\u{fffd}😀\u{fffd}"
    );
    let raw = decode(b"{\"path\":\"a\xff\xe2\x82b\"}").unwrap().0;
    assert_eq!(raw.path, "a\u{fffd}\u{fffd}\u{fffd}b");
    let long_key = format!("{{\"{}\":1,\"total\":0}}", "path".repeat(1000));
    assert_eq!(read(&long_key), UploadMessage::default());
    let long_checksum = format!("{{\"checksum\":\"{}\"}}", "0".repeat(9000));
    assert_eq!(read(&long_checksum).checksum.len(), CHECKSUM_BYTES_MAX);
    assert_eq!(read(r#"{"total":9223372036854775807}"#).total, i64::MAX);
}

#[test]
fn errors_of_grammar_read_as_in_go() {
    for (text, want) in [
        ("", "unexpected end of JSON input"),
        ("  ", "unexpected end of JSON input"),
        ("{\"path\":\"a\"", "unexpected end of JSON input"),
        ("{\"path\":\"a", "unexpected end of JSON input"),
        ("nul", "unexpected end of JSON input"),
        ("{\"total\":-", "unexpected end of JSON input"),
        (
            "hello",
            "invalid character 'h' looking for beginning of value",
        ),
        (
            "\u{feff}{}",
            "invalid character 'ï' looking for beginning of value",
        ),
        ("{}x", "invalid character 'x' after top-level value"),
        ("{} {}", "invalid character '{' after top-level value"),
        (
            "{a",
            "invalid character 'a' looking for beginning of object key string",
        ),
        (
            "{\"a\":1,}",
            "invalid character '}' looking for beginning of object key string",
        ),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        (
            "{\"a\":1 2}",
            "invalid character '2' after object key:value pair",
        ),
        ("{\"a\":[1 2]}", "invalid character '2' after array element"),
        (
            "{\"a\":[1,]}",
            "invalid character ']' looking for beginning of value",
        ),
        (
            "{\"a\":\"\n\"}",
            "invalid character '\\n' in string literal",
        ),
        (
            "{\"a\":\"\\x\"}",
            "invalid character 'x' in string escape code",
        ),
        (
            "{\"a\":\"\\u12g4\"}",
            "invalid character 'g' in \\u hexadecimal character escape",
        ),
        (
            "{\"a\":tru'}",
            "invalid character '\\'' in literal true (expecting 'e')",
        ),
        ("{\"a\":-x}", "invalid character 'x' in numeric literal"),
        (
            "{\"a\":1.x}",
            "invalid character 'x' after decimal point in numeric literal",
        ),
        (
            "{\"a\":1ex}",
            "invalid character 'x' in exponent of numeric literal",
        ),
        (
            "{\"a\":01}",
            "invalid character '1' after object key:value pair",
        ),
        (
            "{\"a\":\0}",
            "invalid character '\\x00' looking for beginning of value",
        ),
    ] {
        assert_eq!(decode(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn errors_of_type_read_as_in_go() {
    let field = |value: &str, member: &str, kind: &str| {
        format!(
            "json: cannot unmarshal {value} into Go struct field upload.{member} of type {kind}"
        )
    };
    for (text, want) in [
        (
            "[]",
            "json: cannot unmarshal array into Go value of type upload".to_owned(),
        ),
        (
            "\"x\"",
            "json: cannot unmarshal string into Go value of type upload".into(),
        ),
        (
            "3",
            "json: cannot unmarshal number into Go value of type upload".into(),
        ),
        ("{\"total\":1.5}", field("number 1.5", "total", "int")),
        ("{\"total\":1e3}", field("number 1e3", "total", "int")),
        (
            "{\"chunk_id\":9223372036854775808}",
            field("number 9223372036854775808", "chunk_id", "int"),
        ),
        ("{\"chunk_id\":\"1\"}", field("string", "chunk_id", "int")),
        ("{\"path\":1}", field("number", "path", "string")),
        ("{\"path\":{}}", field("object", "path", "string")),
        ("{\"path\":[]}", field("array", "path", "string")),
        ("{\"data\":true}", field("bool", "data", "[]uint8")),
        ("{\"data\":[256]}", field("number 256", "data", "uint8")),
        ("{\"data\":[[]]}", field("array", "data", "uint8")),
        (
            "{\"data\":\"aGVsbG8\"}",
            "illegal base64 data at input byte 4".into(),
        ),
        (
            "{\"data\":\"aGV*\"}",
            "illegal base64 data at input byte 3".into(),
        ),
        (
            "{\"data\":\"\",\"Data\":\"\"}",
            "\"data\" is there twice; send it once".into(),
        ),
    ] {
        assert_eq!(decode(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn memory_is_bounded() {
    let long = format!("{{\"path\":\"{}\"}}", "p".repeat(V0_PATH_BYTES_MAX + 1));
    assert_eq!(decode_in(long.as_bytes(), 1000), Err(V0Error::PathTooLong));
    let fits = format!("{{\"path\":\"{}\"}}", "p".repeat(V0_PATH_BYTES_MAX));
    assert!(decode_in(fits.as_bytes(), 1000).is_ok());
    let deep = format!("{{\"a\":{}", "[".repeat(V0_JSON_DEPTH_MAX));
    assert_eq!(decode_in(deep.as_bytes(), 1000), Err(V0Error::TooDeep));
    let mut decoder = UploadDecoder::new();
    decoder.push(b"{\"data\":\"", &mut Vec::new()).unwrap();
    decoder.members.data_bytes = crate::limits::V0_CHUNK_BYTES_MAX - 3;
    let mut out = Vec::new();
    assert_eq!(decoder.push(b"AAAA", &mut out), Ok(()));
    let error = decoder.push(b"AAAA", &mut out).unwrap_err();
    assert_eq!(error, V0Error::TooLarge);
    assert_eq!(decoder.push(b"", &mut out), Err(error.clone()));
    assert_eq!(decoder.finish(), Err(error));
}

#[test]
fn members_are_known_as_soon_as_they_are_read() {
    let (mut decoder, mut out) = (UploadDecoder::new(), Vec::new());
    decoder.push(b"{\"path\":\"a/b", &mut out).unwrap();
    assert_eq!(decoder.path_so_far(), None);
    decoder.push(b"\",\"chunk_id\":12", &mut out).unwrap();
    assert_eq!(
        (decoder.path_so_far(), decoder.chunk_id_so_far()),
        (Some("a/b"), None)
    );
    decoder.push(b",\"data\":\"aGVs", &mut out).unwrap();
    assert_eq!(
        (decoder.chunk_id_so_far(), decoder.total_so_far(), &out[..]),
        (Some(12), None, &b"hel"[..])
    );
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        path in "\\PC{0,30}", id: i64, data in prop::collection::vec(any::<u8>(), 0..300),
        checksum in "[0-9a-f]{0,64}", total: i64, piece in 1usize..400,
    ) {
        use ::base64::Engine;
        let text = serde_json::json!({
            "path": path, "chunk_id": id, "data": ::base64::engine::general_purpose::STANDARD.encode(&data),
            "checksum": checksum, "total": total,
        }).to_string();
        let want = (UploadMessage { path, chunk_id: id, checksum, total }, data);
        prop_assert_eq!(decode_in(text.as_bytes(), piece), Ok(want));
    }

    #[test]
    fn what_is_json_is_decided_as_serde_decides(text in "[{}\\[\\]:,\"a\\\\nu0123.eE+\\-truefalsn ]{0,24}") {
        let (mut scanner, valid) = (json::Scanner::default(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        let mut sink = |_: Token<'_>| Ok(());
        let ours = scanner.push(text.as_bytes(), &mut sink).and_then(|()| scanner.finish(&mut sink));
        prop_assert_eq!(ours.is_ok(), valid, "{}", text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), at in 0usize..80) {
        let _ = decode_in(&bytes, 5);
        let mut text = br#"{"path":"a/b.txt","chunk_id":1,"data":"aGVsbG8=","checksum":"abc","total":3}"#.to_vec();
        let end = (at + bytes.len()).min(text.len());
        text.splice(at.min(end)..end, bytes);
        let _ = decode_in(&text, 5);
    }
}
