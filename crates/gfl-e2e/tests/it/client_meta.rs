//! What goes with content: permission bits and times of files and folders, odd names, what is left out.

use gfl_e2e::data;
use gfl_e2e::{Gfl, Server};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn folders_keep_their_modes_and_times_both_ways() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    let dirs = [
        ("dm", 0o750),
        ("dm/priv", 0o700),
        ("dm/priv/in", 0o711),
        ("dm/empty", 0o770),
    ];
    for (dir, _) in dirs {
        fs::create_dir(gfl.local(dir)).unwrap();
    }
    fs::write(gfl.local("dm/priv/in/f"), "x").unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    for (dir, mode) in dirs.iter().rev() {
        let folder = fs::File::open(gfl.local(dir)).unwrap();
        folder.set_modified(old).unwrap();
        set_mode(gfl.local(dir), *mode);
    }
    gfl.run(&["put", "dm/", "dm"]).expect(0);
    gfl.run(&["get", "dm", "back"]).expect(0);
    for (dir, want) in dirs {
        let back = gfl.local(&dir.replacen("dm", "back", 1));
        assert_eq!(mode(server.data().join(dir)), want, "{dir}");
        assert_eq!(mode(&back), want, "{dir}");
        assert_eq!(fs::metadata(&back).unwrap().mtime(), 1_600_000_000, "{dir}");
    }
    // A folder that is there already gets its mode, too: the run before may have been broken off.
    set_mode(gfl.local("dm/empty"), 0o700);
    gfl.run(&["put", "dm/", "dm"]).expect(0);
    assert_eq!(mode(server.data().join("dm/empty")), 0o700);
}

#[test]
fn folders_that_are_right_are_left_alone() {
    let mut server = Server::start();
    let gfl = Gfl::new(&server);
    for dir in ["d/one", "d/two/three"] {
        fs::create_dir_all(gfl.local(dir)).unwrap();
    }
    fs::write(gfl.local("d/one/f"), "x").unwrap();
    for _ in 0..2 {
        gfl.run(&["put", "d/", "d"]).expect(0);
    }
    // What is logged after its answer is in the log by then.
    assert!(server.stop());
    let log = server.log();
    let changes = log.matches("method=PATCH").count();
    assert_eq!(changes, 4, "the first run made four folders: {log}");
}

#[test]
fn a_change_of_mode_alone_travels_without_bytes() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::create_dir(gfl.local("d")).unwrap();
    let big = data::bytes(1, 2 << 20);
    fs::write(gfl.local("d/big"), big).unwrap();
    fs::write(gfl.local("d/small"), "x").unwrap();
    for name in ["d/big", "d/small"] {
        set_mode(gfl.local(name), 0o644);
    }
    gfl.run(&["put", "d/", "d"]).expect(0);
    gfl.run(&["get", "d", "copy"]).expect(0);
    for (bits, check) in [(0o600, &[][..]), (0o640, &["--checksum"])] {
        for name in ["d/big", "d/small"] {
            set_mode(gfl.local(name), bits);
        }
        for words in [
            &["put", "d/", "d", "--json"][..],
            &["get", "d", "copy", "--json"],
        ] {
            let told = gfl.run(&[words, check].concat()).expect(0).out;
            assert!(
                told.contains("\"updated\":2") && told.contains("\"moved_bytes\":0"),
                "{told}"
            );
            assert!(told.contains("\"unchanged\":0"), "{told}");
        }
        for name in ["big", "small"] {
            assert_eq!(mode(server.data().join("d").join(name)), bits);
            assert_eq!(mode(gfl.local("copy").join(name)), bits);
        }
    }
    let told = gfl.run(&["put", "d/", "d", "--json"]).expect(0).out;
    assert!(told.contains("\"unchanged\":2"), "{told}");
    set_mode(gfl.local("d/small"), 0o604);
    let out = gfl.run(&["put", "d/small", "d/small"]).expect(0).out;
    assert!(out.contains("updated time and mode"), "{out}");
}

#[test]
fn no_special_bits_come_from_a_server() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::create_dir_all(server.data().join("s/sub")).unwrap();
    fs::write(server.data().join("s/f"), "x").unwrap();
    set_mode(server.data().join("s/f"), 0o4755);
    set_mode(server.data().join("s/sub"), 0o1777);
    gfl.run(&["get", "s", "s"]).expect(0);
    assert_eq!(mode(gfl.local("s/f")) & 0o7000, 0);
    assert_eq!(mode(gfl.local("s/sub")) & 0o7000, 0);
}

#[test]
fn what_is_left_out_is_told_to_the_quiet_too() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::create_dir(gfl.local("d")).unwrap();
    symlink("nowhere", gfl.local("d/link")).unwrap();
    let err = gfl.run(&["put", "-q", "d", "d"]).expect(0).err;
    assert!(err.contains("link: left out, symlink"), "{err}");
}

#[test]
fn a_folder_in_the_way_is_found_before_anything_is_fetched() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    server.http().put("/v1/files/h/ten", "x").expect(201);
    fs::create_dir_all(gfl.local("lg/ten")).unwrap();
    let err = gfl.run(&["get", "h/ten", "lg"]).expect(5).err;
    assert!(err.contains("a folder is in the way"), "{err}");
    assert_eq!(fs::read_dir(gfl.local("lg")).unwrap().count(), 1);
}

#[test]
fn zeroes_take_no_room_here() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    let mut disk = vec![0_u8; 40_000_000];
    disk[..1_000_000].copy_from_slice(&data::bytes(3, 1_000_000));
    disk[25_000_003] = 1;
    // With a tag and parts side by side, and in one piece because the server has not hashed it.
    fs::write(gfl.local("disk"), &disk).unwrap();
    gfl.run(&["put", "disk", "disk"]).expect(0);
    fs::write(server.data().join("by-hand"), &disk).unwrap();
    for name in ["disk", "by-hand"] {
        gfl.run(&["get", name, "here"]).expect(0);
        assert!(fs::read(gfl.local("here")).unwrap() == disk, "{name}");
        let room = fs::metadata(gfl.local("here")).unwrap().blocks() * 512;
        assert!(room < 4_000_000, "{name}: {room} bytes on disk");
        fs::remove_file(gfl.local("here")).unwrap();
    }
}

#[test]
fn names_that_programs_like_ours_use_belong_to_users() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::create_dir(gfl.local("pc")).unwrap();
    let big = data::bytes(2, 20_000_000);
    fs::write(gfl.local("pc/x"), &big).unwrap();
    for name in ["x.part", "x.part.gfl", ".gfl"] {
        fs::write(gfl.local("pc").join(name), name).unwrap();
    }
    gfl.run(&["put", "pc/", "pc"]).expect(0);
    gfl.run(&["get", "pc", "out"]).expect(0);
    assert!(fs::read(gfl.local("out/x")).unwrap() == big);
    for name in ["x.part", "x.part.gfl", ".gfl"] {
        assert_eq!(
            fs::read_to_string(gfl.local("out").join(name)).unwrap(),
            name
        );
    }
    assert_eq!(fs::read_dir(gfl.local("out")).unwrap().count(), 4);
}
