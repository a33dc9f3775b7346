//! The agent against a small broker in the same process: greeting, enrolment, breaks, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod broker;
mod shell;

use std::time::{Duration, Instant};

use broker::{Broker, Device, Manner, PATIENCE, refused, until};
use moorline_link_io::reset_code;
use moorline_wire::Code;
use shell::Shell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_device_with_an_install_key_enrols_itself_and_gives_a_shell() {
    let mut broker = Broker::start().await;
    let device = Device::start(&broker, &["name=box", "login=root"]);
    let (_, hello) = broker.hello().await;
    assert_eq!((hello.name.as_str(), hello.login.as_str(), hello.sshd.as_str()), ("box", "root", "embedded"));
    assert_eq!((hello.host_keys.len(), hello.resume.is_none()), (1, true));
    until("the pinned CA", || device.pinned().exists()).await;
    let mut shell = Shell::open(&broker, &hello, "echo in; exit 7").await;
    assert_eq!(shell.finish().await, ("in\n".to_owned(), Some(7)));
    assert!(device.stop().await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_session_goes_on_through_many_cuts_with_every_byte_once() {
    let mut broker = Broker::start().await;
    let _device = Device::start(&broker, &["timing.backoff_min=10ms", "timing.backoff_max=50ms"]);
    let (_, hello) = broker.hello().await;
    let mut shell = Shell::open(&broker, &hello, "seq 1 300000").await;
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    let mut cuts = 0;
    let mut next = 1;
    while let Some(got) = shell.more().await {
        if got >= next {
            broker.cut();
            cuts += 1;
            next = got + 100_000 + cuts;
        }
    }
    let (said, status) = shell.finish().await;
    assert!(said == expected, "{} bytes instead of {}", said.len(), expected.len());
    assert_eq!(status, Some(0));
    let mut resumed = 0;
    while let Ok((_, hello)) = broker.hellos.try_recv() {
        resumed += usize::from(hello.resume.is_some());
    }
    assert!(cuts >= 10 && resumed >= 10, "{cuts} cuts, {resumed} resumed");
}

#[tokio::test]
async fn after_a_restart_of_the_broker_the_old_sessions_are_ended() {
    let mut broker = Broker::start().await;
    let _device = Device::start(&broker, &[]);
    let (_, hello) = broker.hello().await;
    let word = format!("{}", 666_000_000 + std::process::id());
    let mut shell = Shell::open(&broker, &hello, &format!("echo up; sleep {word}")).await;
    shell.more().await;
    until("the sleeper", || shell::sleepers(&word) == 1).await;
    broker.forget();
    broker.cut();
    let (_, hello) = broker.hello().await;
    assert!(hello.resume.is_some());
    until("the old session's end", || shell::sleepers(&word) == 0).await;
    let mut shell = Shell::open(&broker, &hello, "echo again").await;
    assert_eq!(shell.finish().await.0, "again\n");
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_left_and_the_session_goes_on() {
    let mut broker = Broker::start().await;
    let _device = Device::start(&broker, &[]);
    let (_, hello) = broker.hello().await;
    let mut shell = Shell::open(&broker, &hello, "echo one; read x; echo $x; cat").await;
    shell.more().await;
    let silent = Instant::now();
    broker.stall();
    let (again, hello) = broker.hello().await;
    assert!(hello.resume.is_some());
    let noticed = again - silent;
    assert!(noticed > Duration::from_secs(1) && noticed < Duration::from_secs(8), "{noticed:?}");
    shell.write(b"two\n").await;
    shell.end_input().await;
    assert_eq!(shell.finish().await.0, "one\ntwo\n");
}

#[tokio::test]
async fn when_the_broker_goes_away_the_device_comes_back_when_it_was_told() {
    let mut broker = Broker::start().await;
    let _device = Device::start(&broker, &[]);
    broker.hello().await;
    broker.open().await;
    let told = Instant::now();
    broker.go_away();
    let (back, hello) = broker.hello().await;
    assert!(hello.resume.is_some());
    let away = back - told;
    assert!(away >= Duration::from_millis(650) && away < Duration::from_secs(5), "{away:?}");
}

#[tokio::test]
async fn a_refused_device_comes_back_when_it_was_told_and_then_is_let_in() {
    let mut broker = Broker::start().await;
    broker.set_manner(refused(Code::NOT_ENROLLED, Some(400)));
    let _device = Device::start(&broker, &[]);
    let (first, _) = broker.hello().await;
    let (second, _) = broker.hello().await;
    assert!(second - first >= Duration::from_millis(390), "{:?}", second - first);
    broker.set_manner(Manner::Welcome);
    broker.hello().await;
    broker.open().await;
}

#[tokio::test]
async fn a_broker_that_cannot_prove_itself_is_not_trusted() {
    let mut broker = Broker::start().await;
    broker.set_manner(Manner::OtherCa { proof: false });
    let device = Device::start(&broker, &["timing.backoff_min=10ms"]);
    for _ in 0..3 {
        broker.hello().await;
    }
    assert!(!device.pinned().exists());
    broker.set_manner(Manner::Welcome);
    until("the pinned CA", || device.pinned().exists()).await;
    let pinned = std::fs::read_to_string(device.pinned()).unwrap();
    // Another CA later, without a proof: refused. With one: the broker was set up anew.
    broker.set_manner(Manner::OtherCa { proof: false });
    broker.cut();
    while broker.hellos.try_recv().is_ok() {}
    broker.hello().await;
    assert_eq!(std::fs::read_to_string(device.pinned()).unwrap(), pinned);
    broker.set_manner(Manner::OtherCa { proof: true });
    until("the new CA", || std::fs::read_to_string(device.pinned()).unwrap() != pinned).await;
}

#[tokio::test]
async fn a_handover_of_the_ca_counts_only_if_a_trusted_one_signs_it_and_it_is_new() {
    let mut broker = Broker::start().await;
    let settings = ["timing.backoff_min=10ms", "timing.backoff_max=20ms", "timing.backoff_refused=20ms"];
    let device = Device::start(&broker, &settings);
    until("the pinned CA", || device.pinned().exists()).await;
    let pinned = || std::fs::read_to_string(device.pinned()).unwrap();
    let keys = || pinned().lines().filter(|line| !line.starts_with('#')).count();
    let own = pinned();
    let good = broker.handover(0, 3, &[0, 1]);
    let mut damaged = good.clone();
    damaged.cas.swap(0, 1);
    let mut longer_lived = good.clone();
    longer_lived.generation = 9;
    for wrong in [
        broker.handover(2, 3, &[0, 2]),
        broker.handover(1, 3, &[0, 1]),
        broker.handover(0, 3, &[]),
        broker.handover(0, 3, &[0, 1, 2, 3, 4]),
        damaged,
        longer_lived,
    ] {
        broker.set_manner(Manner::Hands { ca: 0, over: wrong.clone() });
        broker.cut();
        while broker.hellos.try_recv().is_ok() {}
        // The second comes after the answer to the first.
        broker.hello().await;
        broker.hello().await;
        assert_eq!(pinned(), own, "{wrong:?}");
    }
    broker.set_manner(Manner::Hands { ca: 0, over: good });
    until("both CAs", || keys() == 2).await;
    let both = pinned();
    // Older or of the same age, though it is signed: whoever has recorded it gets nobody back to it.
    for generation in [2, 3] {
        broker.set_manner(Manner::Hands { ca: 0, over: broker.handover(0, generation, &[0, 2]) });
        while broker.hellos.try_recv().is_ok() {}
        broker.cut();
        let (_, hello) = broker.hello().await;
        assert!(hello.capabilities.contains(&"ca:3".to_owned()), "{:?}", hello.capabilities);
        broker.cut();
        broker.hello().await;
        assert_eq!(pinned(), both, "{generation}");
    }
    broker.set_manner(Manner::Hands { ca: 1, over: broker.handover(1, 4, &[1]) });
    broker.cut();
    until("the new CA alone", || keys() == 1).await;
    assert!(!pinned().contains(own.trim()), "the old one is still trusted");
}

#[tokio::test]
async fn an_enrolled_device_needs_no_install_key_and_is_the_same_after_a_restart() {
    let mut broker = Broker::start().await;
    let mut device = Device::start(&broker, &[]);
    let (_, first) = broker.hello().await;
    until("the pinned CA", || device.pinned().exists()).await;
    let dir = std::mem::replace(&mut device.dir, tempfile::tempdir().unwrap());
    device.stop().await;
    std::fs::remove_file(dir.path().join("install.key")).unwrap();
    let _device = Device::in_folder(dir, &broker, &[]);
    let (_, second) = broker.hello().await;
    assert_eq!((first.device.clone(), &first.host_keys), (second.device.clone(), &second.host_keys));
    assert!(first.enroll.is_some() && second.enroll.is_none());
    let mut shell = Shell::open(&broker, &second, "echo in").await;
    assert_eq!(shell.finish().await.0, "in\n");
}

#[tokio::test]
async fn a_stream_to_the_systems_sshd_is_carried_both_ways_with_its_ends() {
    let sshd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = sshd.local_addr().unwrap();
    let mut echo = JoinSet::new();
    echo.spawn(async move {
        loop {
            let (mut stream, _) = sshd.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("host.pub");
    let mut broker = Broker::start().await;
    std::fs::write(&key_file, broker.ca().public_key().to_openssh().unwrap()).unwrap();
    let address = format!("sshd.address={address}");
    let key_file = format!("sshd.host_key_files={}", key_file.display());
    let _device = Device::start(&broker, &["sshd.mode=system", &address, &key_file]);
    let (_, hello) = broker.hello().await;
    assert_eq!((hello.sshd.as_str(), hello.host_keys.len()), ("system", 1));
    let mut stream = broker.open().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let mut got = Vec::new();
    let write = async {
        for piece in sent.chunks(100_000) {
            writer.write_all(piece).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    };
    let (read, ()) = tokio::join!(tokio::time::timeout(PATIENCE, reader.read_to_end(&mut got)), write);
    read.unwrap().unwrap();
    assert!(got == sent);
    echo.shutdown().await;
    let mut refused = broker.open().await;
    let err = refused.read_u8().await.unwrap_err();
    assert_eq!(reset_code(&err), Some(Code::SSHD_UNREACHABLE));
}

#[tokio::test]
async fn the_host_key_of_a_system_sshd_is_learned_from_itself_when_no_file_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (sshd, expected) = shell::openssh_server(&dir).await;
    let mut broker = Broker::start().await;
    let address = format!("sshd.address=127.0.0.1:{}", sshd.port);
    let _device = Device::start(&broker, &["sshd.mode=system", &address, "sshd.host_key_files=/no/such/*"]);
    let (_, hello) = broker.hello().await;
    assert_eq!(hello.host_keys, [expected]);
}

#[tokio::test]
async fn leaving_ends_the_sessions_and_tells_the_broker() {
    let mut broker = Broker::start().await;
    let device = Device::start(&broker, &[]);
    let (_, hello) = broker.hello().await;
    let word = format!("{}", 555_000_000 + std::process::id());
    let mut shell = Shell::open(&broker, &hello, &format!("trap '' HUP; echo up; sleep {word}")).await;
    shell.more().await;
    assert!(device.stop().await < Duration::from_secs(5));
    assert_eq!(shell::sleepers(&word), 0);
    assert!(tokio::time::timeout(PATIENCE, shell.finish()).await.is_ok(), "the broker was not told");
}

#[tokio::test]
async fn a_broker_behind_a_proxy_and_tls_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let tls = shell::tls_acceptor(&dir);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut broker = Broker::on(listener, move |stream| {
        let tls = tls.clone();
        Box::pin(async move { tls.accept(stream).await.ok() })
    });
    let (proxy, mut asked, _work) = shell::proxy().await;
    let url = format!("broker.url=wss://localhost:{}", broker.port);
    let proxy = format!("broker.proxy=http://anna:secret@127.0.0.1:{proxy}");
    let ca = format!("broker.ca_file={}", dir.path().join("cert.pem").display());
    let device = Device::start(&broker, &[&url, &proxy, &ca]);
    let (_, hello) = broker.hello().await;
    let asked = asked.recv().await.unwrap();
    assert!(asked.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", broker.port)), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic YW5uYTpzZWNyZXQ="), "{asked}");
    let mut shell = Shell::open(&broker, &hello, "head -c 3000000 /dev/zero | wc -c").await;
    assert_eq!(shell.finish().await.0, "3000000\n");
    device.stop().await;
    // Without the file its certificate is nobody's.
    let _device = Device::start(&broker, &[&url]);
    assert!(tokio::time::timeout(Duration::from_secs(1), broker.hellos.recv()).await.is_err());
}
