use super::*;
use std::time::Duration;
use tokio::time::timeout;

fn wish(address: &str) -> Wish {
    Wish {
        wanted: Some(true),
        name: "nas".into(),
        address: address.into(),
        tls: false,
    }
}

/// A service on a port of its own, and a client's socket.
async fn start(wish: Wish, listening: &str) -> (Discovery, SocketAddr, UdpSocket) {
    let listening = listening.parse().unwrap();
    let (discovery, bound) = wish.start_on(0, listening, Arc::new(|| true)).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port()));
    (discovery, server, client)
}

async fn ask(client: &UdpSocket, server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    client.send_to(question, server).await.unwrap();
    answer(client).await
}

async fn answer(client: &UdpSocket) -> Option<Vec<u8>> {
    let mut datagram = [0; 2048];
    let received = timeout(Duration::from_secs(10), client.recv_from(&mut datagram)).await;
    let (len, _) = received.ok()?.unwrap();
    Some(datagram[..len].to_vec())
}

#[tokio::test]
async fn a_probe_is_answered_at_once_and_with_less() {
    let (_service, server, client) = start(wish("127.0.0.1:1"), "127.0.0.1:4711").await;
    let probe = discovery::probe();
    let datagram = ask(&client, server, &probe).await.unwrap();
    assert!(datagram.len() <= probe.len());
    let told = Announcement::parse(&datagram).unwrap();
    assert_eq!((told.name.as_str(), told.port.as_str()), ("nas", "4711"));
    assert_eq!(
        told.address, "127.0.0.1:4711",
        "the port that was really bound"
    );
    assert!(told.auth_enabled && !told.tls && told.timestamp > 1_700_000_000);
    assert_eq!(told.id.len(), 32);
    let again = Announcement::parse(&ask(&client, server, &probe).await.unwrap()).unwrap();
    assert_eq!(again.id, told.id);
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let (_service, server, client) = start(wish("x"), "127.0.0.1:1").await;
    let probe = discovery::probe();
    let noise: [&[u8]; 4] = [
        b"",
        &[0; 1024],
        &probe[..1023],
        b"{\"magic\":\"GOFLUX-LITE-DISCOVERY\"}",
    ];
    for question in noise {
        client.send_to(question, server).await.unwrap();
    }
    // Datagrams of one socket arrive in order here: the first answer is to the probe.
    let told = ask(&client, server, &probe).await.unwrap();
    assert!(Announcement::parse(&told).is_some());
    let mut rest = [0; 16];
    assert!(client.try_recv_from(&mut rest).is_err(), "one answer only");
}

#[tokio::test]
async fn a_flood_is_answered_in_part() {
    let (_service, server, client) = start(wish("x"), "127.0.0.1:1").await;
    // No more than wait in the socket's buffer.
    for _ in 0..60 {
        client.send_to(&discovery::probe(), server).await.unwrap();
    }
    // Another address has its own allowance; its answer comes after all those of the flood.
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    assert!(ask(&other, server, &discovery::probe()).await.is_some());
    let mut answers = 0;
    let mut datagram = [0; 2048];
    while client.try_recv_from(&mut datagram).is_ok() {
        answers += 1;
    }
    assert!((1..40).contains(&answers), "{answers} answers to 60 probes");
}

#[tokio::test]
async fn several_servers_share_the_port_and_a_taken_one_is_an_error() {
    let listening = "127.0.0.1:1".parse().unwrap();
    let (_first, bound) = wish("x").start_on(0, listening, Arc::new(|| true)).unwrap();
    assert!(
        wish("x")
            .start_on(bound.port(), listening, Arc::new(|| true))
            .is_ok()
    );
    let alone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = alone.local_addr().unwrap().port();
    assert!(
        wish("x")
            .start_on(port, listening, Arc::new(|| true))
            .is_err()
    );
}

#[tokio::test]
async fn on_loopback_it_has_to_be_asked_for() {
    let local = "[::1]:1".parse().unwrap();
    let silent = Wish {
        wanted: None,
        ..wish("localhost:1")
    };
    assert!(silent.start(local, || true).is_none());
    let off = Wish {
        wanted: Some(false),
        ..wish("0.0.0.0:1")
    };
    assert!(off.start("192.0.2.1:1".parse().unwrap(), || true).is_none());
}

#[test]
fn announced_addresses() {
    for (configured, listening, want) in [
        ("0.0.0.0:0", "0.0.0.0:9000", "0.0.0.0:9000"),
        (":8080", "[::]:8080", "0.0.0.0:8080"),
        ("[::]:8080", "[::]:8080", "0.0.0.0:8080"),
        ("192.168.1.5:80", "192.168.1.5:80", "192.168.1.5:80"),
        ("[fd00::5]:80", "[fd00::5]:80", "[fd00::5]:80"),
        ("[fe80::5%2]:80", "[fe80::5%2]:80", "[fe80::5]:80"),
        ("nas.example:0", "192.168.1.5:8081", "nas.example:8081"),
        ("localhost:1", "127.0.0.1:1", "127.0.0.1:1"),
        ("nas", "[::ffff:10.0.0.1]:80", "nas:80"),
        ("10.0.0.1:80", "[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
    ] {
        assert_eq!(
            announced(configured, listening.parse().unwrap()),
            want,
            "{configured}"
        );
    }
}

#[test]
fn names_that_do_not_fit_a_datagram_or_a_terminal_are_refused() {
    let named = |name: &str| {
        let server = ServerConfig {
            discovery_name: name.into(),
            ..ServerConfig::default()
        };
        Wish::new(&server, "a:1", true).map(|wish| (wish.name, wish.tls, wish.wanted))
    };
    assert_eq!(named("Büro").unwrap(), ("Büro".into(), true, None));
    assert!(named(&"n".repeat(129)).is_err() && named("a\u{1b}[2J").is_err());
}
