//! Random and mutated bytes on every parser, each for some seconds: `TESTS_FUZZ_SECONDS` makes them more, `TESTS_SEED`
//! runs what was printed again. `make fuzz` goes on with the same bodies for as long as one likes.

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::keep::{FromKeeper, KeeperControl, OrderControl, Taken, ToKeeper};
use moorline_wire::link::frame::{Frame, Resumed, ResumedState};
use moorline_wire::link::{Class, Target, greeting};
use moorline_wire::term::{HostControl, HostFrame, Message, Size, ViewerControl, ViewerFrame};
use moorline_wire::{Code, Ending, StreamId, install_key};

/// How long each body is run, unless somebody wants more.
const SECONDS: u64 = 5;

/// What is larger only takes longer.
const BYTES_MAX: usize = 4096;

/// Small, fast, and the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn challenge() -> greeting::Message {
    greeting::Message::Challenge(greeting::Challenge {
        versions: greeting::VERSIONS,
        nonce: "bm9uY2U".into(),
        broker: "moorline".into(),
        knows: vec![greeting::INSTALL_KEYS.into(), greeting::NEXT_KEYS.into()],
    })
}

fn welcome() -> greeting::Message {
    let handover =
        greeting::Handover { generation: 3, cas: vec!["ssh-ed25519 AAAA".into()], signature: "c2ln".into() };
    greeting::Message::Welcome(greeting::Welcome {
        epoch: 7,
        resume: "token".into(),
        resumed: true,
        ca: "ssh-ed25519 AAAA".into(),
        enrolled: Some("cHJvb2Y".into()),
        ping_ms: 5000,
        dead_ms: 15_000,
        resume_within_ms: 60_000,
        spread_ms: 1000,
        handover: Some(handover),
        pending: true,
        next_key_taken: true,
        key_asked: true,
    })
}

fn refused() -> greeting::Message {
    let text = "This device is revoked.".into();
    greeting::Message::Refused(greeting::Refused { code: Code::LIMIT, text, retry_after_ms: Some(5) })
}

fn hello() -> greeting::Message {
    greeting::Message::Hello(greeting::Hello {
        version: 1,
        device: "d-aaaaaaaaaaaaaaaa".parse().expect("it is an id"),
        key: "a2V5".into(),
        nonce: "bm9uY2U".into(),
        software: "moorline-agent 0.1.0".into(),
        name: "lab \u{1f680}".into(),
        platform: "linux x86_64".into(),
        sshd: "embedded".into(),
        login: "root".into(),
        host_keys: vec!["ssh-ed25519 AAAA".into()],
        clock: 1_000_000,
        capabilities: vec!["keeper".into()],
        resume: Some("token".into()),
        enroll: None,
        install_key: Some("mli".into()),
        next_key: Some(greeting::NextKey { key: "a2V5".into(), signature: "c2ln".into() }),
        stood_still_ms: 0,
        signature: "c2ln".into(),
    })
}

fn frames() -> Vec<Frame> {
    let stream = StreamId(7);
    vec![
        Frame::Open { stream, target: Target::Sshd, class: Class::Interactive, limit: 65536 },
        Frame::Data { stream, offset: 0, bytes: Bytes::from_static(b"hello") },
        Frame::Credit { stream, received: 5, limit: 262_144, finished: false },
        Frame::Fin { stream, offset: 5 },
        Frame::Reset { stream, code: Code::DEVICE_LOST },
        Frame::ResetOk { stream },
        Frame::Ping { nonce: 1 },
        Frame::Pong { nonce: 1 },
        Frame::GoingAway { come_back_after_ms: 1000 },
        Frame::Resume {
            next_stream: 9,
            streams: vec![
                Resumed { stream, state: ResumedState::Open { received: 5, limit: 99, finished: true } },
                Resumed { stream: StreamId(8), state: ResumedState::Reset(Code::LIMIT) },
            ],
        },
    ]
}

fn of_message(message: Message) -> Vec<u8> {
    match message {
        Message::Binary(bytes) => [&[0], &bytes[..]].concat(),
        Message::Text(text) => [&[1], text.as_bytes()].concat(),
    }
}

fn viewers() -> Vec<ViewerFrame> {
    let size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
    vec![
        ViewerFrame::In { offset: 3, bytes: Bytes::from_static(b"ls\r") },
        ViewerFrame::Ack { offset: 65536 },
        ViewerFrame::Ping { nonce: 7, acked: 12 },
        ViewerFrame::Resize { seq: 2, size },
        ViewerFrame::Signal { number: 2 },
        ViewerFrame::Control(ViewerControl::Kill { reason: Some("over \u{1b}[2J".into()) }),
        ViewerFrame::Control(ViewerControl::Visibility { hidden: true }),
    ]
}

fn hosts() -> Vec<HostFrame> {
    vec![
        HostFrame::Out { offset: 1, bytes: Bytes::from_static(b"\x1b[31mred") },
        HostFrame::InAck { offset: 3 },
        HostFrame::Pong { nonce: 7, device_rtt_us: 900, head: 12 },
        HostFrame::Snap { offset: 5, cols: 80, rows: 24, bytes: Bytes::from_static(b"screen") },
        HostFrame::Control(HostControl::Ended { ending: Ending::killed("root", Some("over")) }),
    ]
}

fn keeps() -> Vec<Vec<u8>> {
    let taken = Taken { version: 1, created: true, head: 9, oldest: 0, idle_ms: 5, exit: None };
    let mut all: Vec<Vec<u8>> =
        viewers().into_iter().map(|frame| ToKeeper::Frame(3, frame).encode().to_vec()).collect();
    all.extend(hosts().into_iter().map(|frame| FromKeeper::Frame(3, frame).encode().to_vec()));
    all.push(FromKeeper::Control(KeeperControl::Taken(taken)).encode().to_vec());
    all.push(ToKeeper::Order(OrderControl::Leave { viewer: 3 }).encode().to_vec());
    all.push(all.concat());
    all
}

/// Good bytes for a body, to begin with.
fn seeds(body: &str) -> Vec<Vec<u8>> {
    match body {
        "link_frame" => frames().iter().map(|frame| frame.encode().to_vec()).collect(),
        "link_greeting" => {
            [challenge(), hello(), welcome(), refused()].map(|message| message.encode().to_vec()).into()
        }
        "link_machine" => {
            let lengths =
                |frame: &Frame| [&(frame.encode().len() as u16).to_be_bytes(), &frame.encode()[..]].concat();
            let all: Vec<u8> = frames().iter().flat_map(lengths).collect();
            (0..4).map(|first| [&[first], &all[..]].concat()).collect()
        }
        "term_viewer" => viewers().iter().map(|frame| of_message(frame.encode())).collect(),
        "term_host" => hosts().iter().map(|frame| of_message(frame.encode())).collect(),
        "keep_stream" => keeps(),
        "keep_pieces" => keeps().iter().map(|bytes| [&[5], &bytes[..]].concat()).collect(),
        "words" => [
            "d-aaaaaaaaaaaaaaaa",
            "s-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "killed",
            &install_key::text("k-aaaaaaaaaaaaaaaa", &"_".repeat(43)),
        ]
        .map(|text| text.as_bytes().to_vec())
        .into(),
        other => panic!("there are no seeds for {other}"),
    }
}

/// Changes some of the bytes, as a bad line, a bad program or a bad person would.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let count = random.below(9);
                let more = random.bytes(count);
                bytes.splice(at..at, more);
            }
            4 if !bytes.is_empty() => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            // The ends of what a number can be.
            5 => {
                let number = [0, 1, 0x7f, 0xff][random.below(4)];
                let end = (at + [1, 2, 4, 8][random.below(4)]).min(bytes.len());
                bytes[at..end].fill(number);
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            7 => bytes.extend_from_within(at..),
            _ => {
                let count = random.below(64);
                *bytes = random.bytes(count);
            }
        }
        bytes.truncate(BYTES_MAX);
    }
}

fn seconds() -> u64 {
    std::env::var("TESTS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

fn run(name: &str) {
    let (_, body) = *bodies::ALL.iter().find(|(body, _)| *body == name).expect("every test names a body");
    let seeds = seeds(name);
    if let Some(folder) = std::env::var_os("TESTS_FUZZ_SEEDS") {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).expect("the folder of seeds can be made");
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed can be written");
        }
    }
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_nanos() as u64;
    let seed = std::env::var("TESTS_SEED")
        .ok()
        .map_or(now | 1, |text| text.parse().expect("TESTS_SEED is a number"));
    eprintln!("seed: TESTS_SEED={seed}");
    let mut random = Random(seed | 1);
    // Good bytes come first, as they are.
    seeds.iter().for_each(|seed| body(seed));
    let (mut rounds, until) = (0u64, Instant::now() + Duration::from_secs(seconds()));
    let mut kept = seeds.clone();
    while Instant::now() < until {
        for _ in 0..100 {
            let which = random.below(kept.len());
            let mut bytes = kept[which].clone();
            mutate(&mut random, &mut bytes, &seeds);
            if let Err(panic) = catch_unwind(|| body(&bytes)) {
                eprintln!("seed: TESTS_SEED={seed}, round {rounds}, {name} of {bytes:02x?}");
                std::panic::resume_unwind(panic);
            }
            // What was changed once is changed again: some mistakes need two.
            let place = seeds.len() + random.below(64);
            if place < kept.len() {
                kept[place] = bytes;
            } else {
                kept.push(bytes);
            }
            rounds += 1;
        }
    }
    eprintln!("{name}: {rounds} rounds");
    assert!(rounds >= 100, "nothing was tried");
}

macro_rules! each {
    ($($test:ident: $body:literal,)*) => {
        $(#[test]
        fn $test() {
            run($body);
        })*

        #[test]
        fn every_body_has_its_test() {
            let names: Vec<&str> = bodies::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$($body),*]);
            // And its target for cargo-fuzz.
            let manifest = include_str!("../../tests/fuzz/Cargo.toml");
            let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/"));
            let targets: Vec<&str> = targets.filter_map(|rest| rest.strip_suffix(".rs\"")).collect();
            assert_eq!(names, targets);
        }
    };
}

each! {
    any_bytes_are_a_frame_of_a_link_or_a_refusal: "link_frame",
    any_bytes_are_a_greeting_or_a_refusal: "link_greeting",
    a_link_takes_any_frames_or_refuses_them: "link_machine",
    any_bytes_are_a_viewers_message_or_a_refusal: "term_viewer",
    any_bytes_are_a_hosts_message_or_a_refusal: "term_host",
    any_bytes_are_a_keepers_stream_or_a_refusal: "keep_stream",
    a_keepers_stream_may_be_cut_into_any_pieces: "keep_pieces",
    any_bytes_are_an_id_a_code_or_a_refusal: "words",
}
