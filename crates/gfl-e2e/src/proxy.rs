//! A TCP proxy that counts: the only honest witness of what was sent twice. It also keeps one address
//! while the server behind it moves, and can be told to stop passing bytes on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    up: AtomicU64,
    down: AtomicU64,
    stalled: AtomicBool,
    ended: AtomicBool,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on loopback and passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let inner = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if inner.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = inner.clone();
                thread::spawn(move || serve(client, &shared));
            }
        });
        Proxy { addr, shared }
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// New connections go there from now on.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no holder panics") = target;
    }

    /// Bytes passed from clients to the server.
    pub fn up(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    /// Bytes passed from the server to clients.
    pub fn down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Stops passing bytes on, connections stay open: what a dead router looks like.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread so that it sees the flag.
        let _woken = TcpStream::connect(self.addr);
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let target = *shared.target.lock().expect("no holder panics");
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    let _fast = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let up = shared.clone();
    let pump_up = thread::spawn(move || pump(client_in, server_in, &up, true));
    pump(server, client, shared, false);
    let _ended = pump_up.join();
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, is_up: bool) {
    let counter = if is_up { &shared.up } else { &shared.down };
    let mut buf = vec![0; 256 * 1024];
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        while shared.stalled.load(Ordering::SeqCst) && !shared.ended.load(Ordering::SeqCst) {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        if to.write_all(&buf[..n]).is_err() {
            break;
        }
        counter.fetch_add(n as u64, Ordering::SeqCst);
    }
    let _closed = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}
