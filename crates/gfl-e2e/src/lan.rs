//! A network of two machines in miniature: two network namespaces joined by a cable. Needs root.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two machines, at [`Lan::ADDRESSES`], with loopbacks of their own; gone when dropped.
#[derive(Debug)]
pub struct Lan {
    names: [String; 2],
}

impl Lan {
    /// Who is where.
    pub const ADDRESSES: [&'static str; 2] = ["10.99.0.1", "10.99.0.2"];

    /// Lays the cable. The error is the reason why not.
    pub fn new() -> Result<Lan, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !crate::skip::is_root() {
            return Err("needs root to make network namespaces".into());
        }
        let stem = format!(
            "gfl{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let lan = Lan {
            names: [format!("{stem}a"), format!("{stem}b")],
        };
        let [a, b] = &lan.names;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&[
            "-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b,
        ])?;
        for (name, address) in lan.names.iter().zip(Lan::ADDRESSES) {
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                "cable",
            ])?;
            ip(&["-n", name, "link", "set", "cable", "up"])?;
        }
        Ok(lan)
    }

    /// A program to be run on machine 0 or 1; arguments follow. It is the process that is started, not a child of it.
    pub fn command(&self, machine: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.names[machine]])
            .arg(program);
        command
    }

    /// A socket on machine 0 or 1.
    pub fn udp(&self, machine: usize, address: &str) -> std::io::Result<UdpSocket> {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        let namespace = File::open(format!("/run/netns/{}", self.names[machine]))?;
        // A thread of its own goes there and ends; the socket stays where it was made.
        let visit = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            UdpSocket::bind(address)
        };
        std::thread::scope(|scope| scope.spawn(visit).join().expect("the visit does not panic"))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in &self.names {
            let _may_not_exist = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("ip {}: {why}", args.join(" ")))
}
