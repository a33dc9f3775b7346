use super::*;
use bytes::Bytes;
use moorline_link_io::{Event, LinkHandle, LinkStream};
use moorline_wire::link::{Attach, Class, Config as LinkConfig, Input, Role, Target};
use ring::digest::{Context, SHA256};
use russh::client::{self, Handler};
use russh::keys::{Certificate, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn a_hundred_megabytes_arrive_unchanged() {
    let stage = Stage::new().await;
    let file = stage.path("data");
    let make = format!("head -c 100000000 /dev/urandom > {}", file.display());
    assert!(Command::new("sh").args(["-c", &make]).status().await.unwrap().success());
    let expected = text(&Command::new("sha256sum").arg(&file).output().await.unwrap().stdout);
    let mut child = stage.ssh(&[]).arg(format!("cat {}", file.display())).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut hash, mut buffer) = (Context::new(&SHA256), vec![0; 1 << 16]);
    loop {
        let got = clock::within(PATIENCE, "the data", out.read(&mut buffer)).await.unwrap().unwrap();
        if got == 0 {
            break;
        }
        hash.update(&buffer[..got]);
    }
    let got: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(expected.starts_with(&got));
}

/// FAULTS 8: output goes on while a program leaves its input unread, and then all input is there.
#[tokio::test]
async fn a_program_that_does_not_read_its_input_does_not_hold_up_its_output() {
    let stage = Stage::new().await;
    let command = "head -c 100000000 /dev/zero; sleep 0.5; wc -c";
    let out = stage.run_with_input(&[], command, &vec![b'x'; 10_000_000]).await;
    assert_eq!(out.stdout.len(), 100_000_000 + "10000000\n".len());
    assert!(out.stdout.ends_with(b"10000000\n"));
}

#[tokio::test]
async fn input_that_nobody_reads_is_held_back_and_then_comes_whole() {
    let stage = Stage::with(|settings| settings.limits.input = crate::config::Size(1 << 20)).await;
    let input = vec![b'y'; 20_000_000];
    let out = stage.run_with_input(&[], "sleep 1; wc -c", &input).await;
    assert_eq!(text(&out.stdout), "20000000\n");
}

#[tokio::test]
async fn a_program_that_ends_without_reading_its_input_ends_the_session() {
    let stage = Stage::new().await;
    let out = stage.run_with_input(&[], "exec 0<&-; echo in; sleep 0.3; exit 4", &vec![0; 5_000_000]).await;
    assert_eq!((text(&out.stdout).as_str(), out.status.code()), ("in\n", Some(4)));
}

/// Takes any server for the device.
pub(super) struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A russh client as the broker's, over any stream.
async fn log_in<S>(stage: &Stage, stream: S) -> client::Handle<Trusting>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let config = client::Config { window_size: super::super::WINDOW, nodelay: true, ..Default::default() };
    let mut session = client::connect_stream(Arc::new(config), stream, Trusting).await.unwrap();
    let cert = Certificate::read_file(&stage.path("id-cert.pub")).unwrap();
    let result = session.authenticate_openssh_cert(&stage.login, stage.private("id"), cert).await.unwrap();
    assert!(result.success());
    session
}

/// Two ends of a link with a wire between them that loses nothing, driven until dropped.
fn linked() -> (LinkHandle, LinkHandle, JoinSet<()>) {
    let config = LinkConfig {
        window_interactive: 256 * 1024,
        window_bulk_max: 2 << 20,
        streams_max: 256,
        ping_every: Duration::from_secs(5),
        unstable_after: Duration::from_secs(10),
        dead_after: Duration::from_secs(15),
        resume_within: Duration::from_secs(60),
    };
    let broker = LinkHandle::new(Role::Broker, config.clone(), clock::now());
    let agent = LinkHandle::new(Role::Agent, config, clock::now());
    let mut wires = JoinSet::new();
    let (to_agent, at_agent) = tokio::sync::mpsc::channel(4);
    let (to_broker, at_broker) = tokio::sync::mpsc::channel(4);
    for (link, out, arriving) in [(&broker, to_agent, at_broker), (&agent, to_broker, at_agent)] {
        link.handle(clock::now(), Input::Connected(Attach::Fresh)).unwrap();
        wires.spawn(wire(link.clone(), out, arriving));
    }
    (broker, agent, wires)
}

async fn wire(
    link: LinkHandle,
    out: tokio::sync::mpsc::Sender<Bytes>,
    mut arriving: tokio::sync::mpsc::Receiver<Bytes>,
) {
    loop {
        tokio::select! {
            permit = out.reserve() => match (permit, link.poll_transmit(clock::now())) {
                (Err(_), _) => return,
                (Ok(permit), Some(frame)) => permit.send(frame),
                (Ok(_), None) => tokio::select! {
                    () = link.stirred() => {}
                    frame = arriving.recv() => match frame {
                        Some(frame) => link.handle(clock::now(), Input::Frame(frame)).unwrap(),
                        None => return,
                    },
                },
            },
            frame = arriving.recv() => match frame {
                Some(frame) => link.handle(clock::now(), Input::Frame(frame)).unwrap(),
                None => return,
            },
        }
    }
}

async fn opened(agent: &LinkHandle) -> LinkStream {
    loop {
        if let Some(Event::Opened { stream, .. }) = agent.poll_event() {
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

/// FACTS: two russh with much to say both ways stand still for ever when their windows are larger than
/// what the stream between them buffers, or when nobody reads while a write waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_both_ways_between_two_russh_over_a_stream_of_the_link_does_not_stand_still() {
    const EACH: usize = 20_000_000;
    let stage = Stage::new().await;
    let (broker, agent, _wires) = linked();
    let stream = broker.open(Target::Sshd, Class::Interactive).unwrap();
    let sshd = stage.sshd.clone();
    let far = opened(&agent).await;
    let mut serving = JoinSet::new();
    serving.spawn(async move { sshd.serve(far).await });
    let session = log_in(&stage, stream).await;
    let channels = 3;
    let mut copies = JoinSet::new();
    for _ in 0..channels {
        let channel = session.channel_open_session().await.unwrap();
        channel.exec(true, "cat").await.unwrap();
        let (mut reader, writer) = channel.split();
        copies.spawn(async move {
            let piece = Bytes::from(vec![7; 32 * 1024]);
            let write = async {
                let mut left = EACH;
                while left > 0 {
                    let now = left.min(piece.len());
                    writer.data_bytes(piece.slice(..now)).await.unwrap();
                    left -= now;
                }
                writer.eof().await.unwrap();
            };
            let read = async {
                let mut got = 0;
                while let Some(message) = reader.wait().await {
                    if let ChannelMsg::Data { data } = message {
                        got += data.len();
                    }
                }
                got
            };
            tokio::join!(write, read).1
        });
    }
    let copied = clock::within(PATIENCE, "the copies", copies.join_all()).await.unwrap();
    assert_eq!(copied, vec![EACH; channels]);
    session.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_during_endless_output_works_at_once() {
    let stage = Stage::new().await;
    let (near, far) = tokio::io::duplex(256 * 1024);
    let sshd = stage.sshd.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move { sshd.serve(far).await });
    let session = log_in(&stage, near).await;
    let channel = session.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel.exec(true, "yes").await.unwrap();
    let (mut reader, writer) = channel.split();
    let (mut got, mut asked, mut took) = (0, None, None);
    let ended = async {
        let mut signal = None;
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => got += data.len(),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    signal = Some(signal_name);
                    took = asked.map(|asked: std::time::Instant| asked.elapsed());
                }
                _ => {}
            }
            if got > 5_000_000 && asked.is_none() {
                asked = Some(std::time::Instant::now());
                writer.data_bytes(&b"\x03"[..]).await.unwrap();
            }
        }
        signal
    };
    let signal = clock::within(PATIENCE, "the end", ended).await.unwrap();
    assert!(matches!(signal, Some(russh::Sig::INT)), "{signal:?}");
    assert!(took.unwrap() < Duration::from_millis(300), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_size_and_a_signal_reach_the_program() {
    let stage = Stage::new().await;
    let (near, far) = tokio::io::duplex(256 * 1024);
    let sshd = stage.sshd.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move { sshd.serve(far).await });
    let session = log_in(&stage, near).await;
    let channel = session.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 640, 480, &[(russh::Pty::ECHO, 0)]).await.unwrap();
    let script = "trap 'stty size; echo resized' WINCH; trap 'echo signalled; exit 9' USR1; stty -a | grep -ow -e -echo; echo up; while :; do read -t 0.05 _; done";
    channel.exec(true, script).await.unwrap();
    let (mut reader, writer) = channel.split();
    let mut said = String::new();
    let mut status = None;
    let ended = async {
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => said.push_str(&text(&data)),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
            if said.ends_with("up\r\n") {
                writer.window_change(132, 50, 0, 0).await.unwrap();
            }
            if said.ends_with("resized\r\n") {
                writer.signal(russh::Sig::USR1).await.unwrap();
            }
        }
    };
    clock::within(PATIENCE, "the end", ended).await.unwrap();
    assert!(said.contains("-echo\r\nup\r\n50 132\r\nresized\r\nsignalled\r\n"), "{said}");
    assert_eq!(status, Some(9));
}
