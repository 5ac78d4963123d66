//! The server as a service: one per folder, what systemd is told, sockets from systemd, the unit file.

use gfl_e2e::{Http, Server, Setup, bins, skip, wait};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_second_server_on_the_same_folders_is_refused() {
    let server = Server::start();
    let data = server.data().to_string_lossy().into_owned();
    let meta = server.meta().to_string_lossy().into_owned();
    let pid = format!(
        "another server (process {}) uses the same folders; stop it",
        server.pid()
    );
    let same_data = Setup::default().with("storage_dir", data.clone());
    let same_meta = Setup::default().with("meta_dir", meta.clone());
    let same_both = Setup::default()
        .with("storage_dir", data.clone())
        .with("meta_dir", meta);
    for mut second in [same_both, same_meta, same_data].map(Setup::prepare) {
        let why = second.try_start().expect_err("it must not start");
        assert!(
            why.contains(&pid) && why.contains("cannot open storage_dir"),
            "{why}"
        );
    }
    server.http().put("/v1/files/f", "still there").expect(201);
}

/// Where systemd would listen.
fn supervisor(server: &Server) -> (UnixDatagram, String) {
    let path = server.root().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time limit");
    (socket, path.to_string_lossy().into_owned())
}

/// The next message that is not a sign of life; how many signs of life came before.
fn told(socket: &UnixDatagram) -> (String, usize) {
    let mut alive = 0;
    loop {
        let mut buf = [0; 1024];
        let n = socket.recv(&mut buf).expect("the server tells something");
        match String::from_utf8_lossy(&buf[..n]).into_owned() {
            text if text == "WATCHDOG=1" => alive += 1,
            text => return (text, alive),
        }
    }
}

#[test]
fn systemd_is_told_about_start_reload_life_and_end() {
    let root = tempfile::tempdir().expect("a folder");
    let (socket, name) = supervisor(&Setup::default().at(root.path()).prepare());
    let mut setup = Setup::default().at(root.path());
    setup.env = vec![
        ("NOTIFY_SOCKET".into(), name),
        ("WATCHDOG_USEC".into(), "400000".into()),
    ];
    let mut server = setup.start();
    let ready = format!("READY=1\nSTATUS=Listening on {}", server.addr());
    assert_eq!(told(&socket).0, ready);
    let mut buf = [0; 64];
    for _ in 0..3 {
        let n = socket.recv(&mut buf).expect("a sign of life");
        assert_eq!(&buf[..n], b"WATCHDOG=1");
    }
    server.signal(Signal::HUP);
    let (reloading, _) = told(&socket);
    let stamp = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .map(str::parse::<u64>);
    assert!(matches!(stamp, Some(Ok(_))), "{reloading}");
    assert_eq!(told(&socket).0, ready);
    assert!(server.stop(), "{}", server.log());
    let (stopping, _) = told(&socket);
    assert!(
        stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n"),
        "{stopping}"
    );
    server.restart();
}

#[test]
fn sockets_that_systemd_opened_are_served() {
    let server = Setup::default().prepare();
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let addresses = listeners
        .each_ref()
        .map(|l| l.local_addr().expect("is bound"));
    // They come as standard input and error; the shell puts them where systemd does, and keeps its process id.
    let [first, second] = listeners.map(|listener| Stdio::from(OwnedFd::from(listener)));
    let script = "exec 3<&0 4<&2 </dev/null 2>/dev/null; \
                  LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b exec \"$0\" -config \"$1\"";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(bins::path("gfl-server"))
        .arg(server.config_file())
        .current_dir(server.root())
        .stdin(first)
        .stdout(Stdio::piped())
        .stderr(second)
        .spawn()
        .expect("sh");
    let output = BufReader::new(child.stdout.take().expect("is piped"));
    let ready = output
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("listening on"));
    assert!(ready);
    for address in addresses {
        Http::new(address, None).get("/livez").expect(200);
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a process id");
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    let ended = wait::until("it ends", 30, || child.try_wait().ok().flatten());
    assert!(ended.success());
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let mut server = Setup::default().prepare();
    let run = |fds: &str| {
        let script =
            format!("LISTEN_PID=$$ LISTEN_FDS={fds} exec \"$0\" -config \"$1\" 3</dev/null");
        let out = Command::new("sh")
            .args(["-c", &script])
            .arg(bins::path("gfl-server"))
            .arg(server.config_file())
            .output()
            .expect("sh");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, why) = run("1");
    assert!(
        code == Some(1) && why.contains("no listening TCP socket"),
        "{why}"
    );
    let (code, why) = run("x");
    assert!(code == Some(1) && why.contains("LISTEN_FDS"), "{why}");
    // Meant for another process: no concern of this one.
    server.restart();
}

#[test]
fn the_unit_file_is_valid() {
    let unit = std::fs::read_to_string(bins::workspace().join("packaging/gfl-server.service"));
    let unit = unit.expect("the unit file is there");
    for line in [
        "Type=notify",
        "WatchdogSec=",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "LimitNOFILE=",
    ] {
        assert!(unit.lines().any(|l| l.starts_with(line)), "{line}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("gfl-server.service");
    // The program is not installed here, and the user is not made.
    let program = bins::path("gfl-server").to_string_lossy().into_owned();
    let here = unit
        .replace("/usr/bin/gfl-server", &program)
        .replace("=gfl\n", "=root\n");
    std::fs::write(&file, here).expect("written");
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output();
    let Ok(checked) = checked else {
        skip::skip("the unit file", "systemd-analyze is missing");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let about_it: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("gfl-server"))
        .collect();
    assert!(checked.status.success() && about_it.is_empty(), "{said}");
}
