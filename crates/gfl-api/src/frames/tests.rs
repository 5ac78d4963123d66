use super::*;
use proptest::prelude::*;

/// What a test puts into a stream.
#[derive(Clone, Debug)]
enum Item {
    File(FileHeader, Vec<u8>),
    Error(ErrorFrame),
    KeepAlive,
}

fn encode(items: &[Item]) -> Vec<u8> {
    let mut stream = MAGIC.to_vec();
    for item in items {
        match item {
            Item::File(header, content) => {
                stream.extend(encode_file(header).unwrap());
                stream.extend(content);
            }
            Item::Error(error) => stream.extend(encode_error(error)),
            Item::KeepAlive => stream.extend(encode_keep_alive()),
        }
    }
    stream.extend(encode_end());
    stream
}

/// Decodes pieces, joining neighbouring data events so that splits do not show.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, FrameError> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = decoder.next_event(&mut input)? {
            match (events.last_mut(), event) {
                (Some(Event::Data(before)), Event::Data(now)) => {
                    *before = [&before[..], &now].concat().into()
                }
                (_, event) => events.push(event),
            }
        }
        assert!(input.is_empty() && decoder.held.len() <= BULK_HEADER_BYTES_MAX);
    }
    decoder.finish().map(|()| events)
}

fn expected(items: &[Item]) -> Vec<Event> {
    let mut events = Vec::new();
    for item in items {
        match item {
            Item::File(header, content) => {
                events.push(Event::FileStart(header.clone()));
                if !content.is_empty() {
                    events.push(Event::Data(content.clone().into()));
                }
                events.push(Event::FileEnd);
            }
            Item::Error(error) => events.push(Event::Error(error.clone())),
            Item::KeepAlive => {}
        }
    }
    events.push(Event::End);
    events
}

fn item() -> impl Strategy<Value = Item> {
    let file = (
        any::<u32>(),
        "\\PC{0,20}",
        prop::collection::vec(any::<u8>(), 0..40),
        any::<Option<i64>>(),
        prop::option::of(0u32..0o10000),
        any::<Option<[u8; 32]>>(),
        any::<bool>(),
    );
    let file = file.prop_map(|(index, path, content, mtime_ns, mode, b3, create_only)| {
        let size = content.len() as u64;
        Item::File(
            FileHeader {
                index,
                path,
                size,
                mtime_ns,
                mode,
                b3: b3.map(Root),
                create_only,
            },
            content,
        )
    });
    let error = (
        any::<u32>(),
        "\\PC{0,20}",
        any::<u16>(),
        "[a-z-]{0,20}",
        "\\PC{0,20}",
    );
    let error = error.prop_map(|(index, path, status, code, detail)| {
        Item::Error(ErrorFrame {
            index,
            path,
            status,
            code,
            detail,
        })
    });
    prop_oneof![4 => file, 1 => error, 1 => Just(Item::KeepAlive)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        items in prop::collection::vec(item(), 0..5), sizes in prop::collection::vec(1usize..50, 1..8),
    ) {
        let stream = encode(&items);
        let want = expected(&items);
        prop_assert_eq!(decode([&stream[..]]).unwrap(), want.clone());
        prop_assert_eq!(decode(stream.chunks(1)).unwrap(), want.clone());
        let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, after) = rest.split_at(rest.len().min(*size));
            pieces.push(now);
            rest = after;
        }
        prop_assert_eq!(decode(pieces).unwrap(), want);
    }

    #[test]
    fn every_truncation_is_noticed(items in prop::collection::vec(item(), 0..3), cut in any::<prop::sample::Index>()) {
        let stream = encode(&items);
        let cut = cut.index(stream.len());
        prop_assert_eq!(decode([&stream[..cut]]), Err(FrameError::Truncated));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..20) {
        let _ = decode(bytes.chunks(size));
        let _ = decode([&MAGIC[..], &bytes]);
        let len = (bytes.len() as u32).to_le_bytes();
        for kind in [FILE, END, ERROR, KEEP_ALIVE, 9, 200] {
            let _ = decode([&MAGIC[..], &len, &[kind], &bytes]);
        }
    }
}

#[test]
fn the_layout_is_fixed() {
    let file = FileHeader {
        index: 7,
        path: "a".into(),
        size: 2,
        mode: Some(0o644),
        ..FileHeader::default()
    };
    let bytes = encode_file(&file).unwrap();
    assert_eq!(
        hex::encode(&bytes),
        "1d0000000100070000000200000000000000\
        0000000000000000a4010000010061"
            .replace(' ', "")
    );
    assert_eq!(&encode_end()[..], [1, 0, 0, 0, 2]);
}

#[test]
fn what_is_refused() {
    let header = |bytes: &[u8]| [&MAGIC[..], &(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let large = FileHeader {
        size: BULK_FILE_BYTES_MAX + 1,
        ..FileHeader::default()
    };
    let large = encode_file(&large).unwrap();
    let mut flags = encode_file(&FileHeader::default()).unwrap().to_vec();
    flags[5] = 0x80;
    for (stream, want) in [
        (b"GFLBULK2".to_vec(), FrameError::NotBulk),
        ([&MAGIC[..], &[0; 4]].concat(), FrameError::HeaderLength(0)),
        (
            [&MAGIC[..], &8193u32.to_le_bytes()].concat(),
            FrameError::HeaderLength(8193),
        ),
        (header(&[5]), FrameError::UnknownType(5)),
        (header(&[FILE, 0]), FrameError::ShortHeader),
        (
            header(&[ERROR, 0, 0, 0, 0, 0, 0, 1, 0, 0xff, 0, 0, 0, 0]),
            FrameError::NotUtf8,
        ),
        (
            [&MAGIC[..], &flags].concat(),
            FrameError::UnknownFlags(0x80),
        ),
        (
            [&MAGIC[..], &large].concat(),
            FrameError::FileTooLarge {
                size: BULK_FILE_BYTES_MAX + 1,
                bytes_max: BULK_FILE_BYTES_MAX,
            },
        ),
        (
            [&header(&[END])[..], &[0]].concat(),
            FrameError::TrailingData,
        ),
    ] {
        assert_eq!(decode([&stream[..]]), Err(want));
    }
    let long = FileHeader {
        path: "p".repeat(PATH_BYTES_MAX + 1),
        ..FileHeader::default()
    };
    assert!(matches!(
        encode_file(&long),
        Err(FrameError::PathTooLong(_))
    ));
}

#[test]
fn later_versions_may_add_frames_and_fields() {
    let mut stream = MAGIC.to_vec();
    stream.extend([3, 0, 0, 0, 200, 1, 2]);
    let mut file = encode_file(&FileHeader::default()).unwrap().to_vec();
    file.extend([9, 9]);
    file[0] += 2;
    stream.extend(file);
    stream.extend(encode_end());
    let events = decode([&stream[..]]).unwrap();
    assert_eq!(
        events,
        [
            Event::FileStart(FileHeader::default()),
            Event::FileEnd,
            Event::End
        ]
    );
}

#[test]
fn an_error_is_final_and_long_texts_are_cut() {
    let mut decoder = Decoder::new();
    assert!(
        decoder
            .next_event(&mut Bytes::from_static(b"HTTP/1.1"))
            .is_err()
    );
    let mut rest = Bytes::from(encode(&[]));
    assert_eq!(decoder.next_event(&mut rest), Err(FrameError::Failed));
    let error = ErrorFrame {
        path: "é".repeat(4000),
        code: "c".repeat(4000),
        detail: "é".repeat(4000),
        ..ErrorFrame::default()
    };
    let frame = encode_error(&error);
    assert!(frame.len() <= BULK_HEADER_BYTES_MAX);
    assert!(decode([&MAGIC[..], &frame, &encode_end()]).is_ok());
}
