use super::*;
use serde_json::json;

#[test]
fn entries_leave_out_what_is_unknown() {
    let entry = Entry {
        name: "a".into(),
        size: 3,
        ..Entry::default()
    };
    assert_eq!(
        serde_json::to_value(&entry).unwrap(),
        json!({"name":"a","type":"file","size":3})
    );
    let page: ListPage =
        serde_json::from_value(json!({"entries":[{"name":"d","type":"socket","new":1}]})).unwrap();
    assert_eq!((page.entries[0].kind, page.next), (EntryType::Other, None));
    assert_eq!(
        serde_json::to_value(ListPage::default()).unwrap(),
        json!({"entries":[],"next":null})
    );
}

#[test]
fn uploads_show_their_ranges() {
    let info = UploadInfo {
        id: "m2x".into(),
        received: vec![[0, 11]],
        offset: 11,
        ..UploadInfo::default()
    };
    let value = serde_json::to_value(&info).unwrap();
    assert_eq!(value["received"], json!([[0, 11]]));
    assert_eq!(
        (&value["state"], &value["length"]),
        (&json!("receiving"), &json!(null))
    );
    assert_eq!(serde_json::from_value::<UploadInfo>(value).unwrap(), info);
}

#[test]
fn a_batch_with_an_unknown_verb_is_still_a_batch() {
    let text =
        r#"{"ops":[{"op":"delete","path":"a","recursive":true},{"op":"frobnicate","path":"b"}]}"#;
    let batch: BatchRequest = serde_json::from_str(text).unwrap();
    assert_eq!(
        (batch.ops[0].op, batch.ops[0].recursive),
        (BatchVerb::Delete, true)
    );
    assert_eq!(batch.ops[1].op, BatchVerb::Unknown);
}

#[test]
fn a_merge_patch_tells_null_from_absent() {
    let patch: MetaPatch = serde_json::from_str(r#"{"mtime":null}"#).unwrap();
    assert_eq!(
        patch,
        MetaPatch {
            mtime: Some(None),
            mode: None
        }
    );
    let patch: MetaPatch = serde_json::from_str(r#"{"mode":"0644"}"#).unwrap();
    assert_eq!(
        patch,
        MetaPatch {
            mtime: None,
            mode: Some(Some("0644".into()))
        }
    );
    assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"mode":"0644"}"#);
}

/// Members are listed by hand: the list must be what is really written.
#[test]
fn every_member_is_listed() {
    fn written<T: Members + Serialize>(full: &T) {
        let value = serde_json::to_value(full).unwrap();
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut listed = T::MEMBERS.to_vec();
        names.sort();
        listed.sort_unstable();
        assert_eq!(names, listed);
    }
    let some = || Some(String::new());
    written(&BatchOp {
        op: BatchVerb::Move,
        path: String::new(),
        to: some(),
        recursive: true,
        overwrite: true,
        version: some(),
    });
    written(&BulkGetPath {
        path: String::new(),
        b3: some(),
    });
    written(&MetaPatch {
        mtime: Some(some()),
        mode: Some(None),
    });
}

#[test]
fn unknown_members_of_requests_are_noticed() {
    let read = |text: &str| serde_json::from_str::<Strict<BatchOp>>(text).unwrap();
    let op = read(r#"{"op":"delete","pth":{"deep":[1,2]},"recursive":true,"more":null}"#);
    assert_eq!((op.value.op, op.value.recursive), (BatchVerb::Delete, true));
    assert!(op.has("op") && op.has("recursive") && !op.has("path") && !op.has("pth"));
    assert_eq!(
        op.unknown.unwrap().to_string(),
        r#"unknown member "pth", did you mean "path""#
    );
    let odd = read(r#"{"op":"stat","path":"","frobnicate":1}"#);
    assert!(odd.has("path"));
    assert_eq!(
        odd.unknown.unwrap().to_string(),
        r#"unknown member "frobnicate", known are op, path, to, recursive, overwrite, version"#
    );
    assert_eq!(read(r#"{"op":"stat","path":"a"}"#).unknown, None);
    // A list is no object, although a struct could be read from one.
    for bad in [r#"["delete","a"]"#, "1", "null", r#"{"path":1}"#] {
        assert!(
            serde_json::from_str::<Strict<BatchOp>>(bad).is_err(),
            "{bad}"
        );
    }
    // Null and absence still differ.
    let patch: Strict<MetaPatch> = serde_json::from_str(r#"{"mode":null}"#).unwrap();
    assert_eq!(patch.value.mode, Some(None));
    assert!(patch.has("mode") && !patch.has("mtime"));
}

#[test]
fn lists_are_read_up_to_their_limit() {
    let read = |text: &str| {
        let list: AtMost<u8, 2> = serde_json::from_str(text).unwrap();
        (list.items, list.more)
    };
    assert_eq!(read("[]"), (vec![], false));
    assert_eq!(read("[1,2]"), (vec![1, 2], false));
    assert_eq!(read(r#"[1,2,{"whatever":[]},4]"#), (vec![1, 2], true));
    assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,2,").is_err());
}
