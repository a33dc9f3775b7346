//! The golden files: every implementation reads and writes these bytes alike.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::link::frame::Frame;
use crate::link::greeting::{self, Challenge, Hello, Message, Welcome};

const FRAMES: &str = include_str!("../../../golden/link/frames.txt");
const VIOLATIONS: &str = include_str!("../../../golden/link/violations.txt");
const GREETINGS: &str = include_str!("../../../golden/link/greetings.txt");

/// One case: its lines by their names.
type Case = BTreeMap<&'static str, String>;

fn cases(text: &'static str) -> Vec<Case> {
    let mut cases = vec![Case::new()];
    let mut last = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let case = cases.last_mut().unwrap();
        match line.split_once(':').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase())) {
            _ if line.is_empty() => cases.push(Case::new()),
            Some((name, value)) => {
                last = name;
                case.insert(name, value.trim().to_owned());
            }
            None => case.get_mut(last).unwrap().push_str(line),
        }
    }
    cases.retain(|case| !case.is_empty());
    cases
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn every_golden_frame_is_read_and_written_alike() {
    let cases = cases(FRAMES);
    for case in &cases {
        let bytes = hex(&case["hex"]);
        let frame = Frame::decode(bytes.clone()).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_eq!(case["expect"], "ok");
        assert_eq!(format!("{frame:?}"), case["frame"], "{}", case["name"]);
        assert_eq!(frame.encode(), bytes, "{}", case["name"]);
    }
    let kinds: BTreeSet<u8> = cases.iter().map(|case| hex(&case["hex"])[0]).collect();
    assert!(kinds.iter().copied().eq(0x10..=0x19), "there is one of each kind: {kinds:?}");
}

#[test]
fn every_golden_violation_is_refused_for_its_reason() {
    let cases = cases(VIOLATIONS);
    assert!(cases.len() > 20);
    for case in &cases {
        let violation = Frame::decode(hex(&case["hex"])).expect_err(&case["name"]);
        assert_eq!(format!("violation {}", violation.code), case["expect"], "{}", case["name"]);
        assert_eq!(violation.what, case["frame"], "{}", case["name"]);
    }
}

/// The message of a case, as bytes.
fn message(case: &Case) -> Vec<u8> {
    let (kind, json) = case["message"].split_once(' ').unwrap_or((&case["message"], ""));
    [&hex(kind), json.as_bytes()].concat()
}

#[test]
fn every_golden_greeting_is_read_and_written_alike_and_proves_the_same() {
    let mut asked: Option<Challenge> = None;
    let mut answered: Option<Hello> = None;
    for case in cases(GREETINGS) {
        let decoded = Message::decode(&message(&case));
        if let Some(code) = case["expect"].strip_prefix("violation ") {
            assert_eq!(decoded.expect_err(&case["name"]).code.name(), code, "{}", case["name"]);
            continue;
        }
        let decoded = decoded.unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_eq!(decoded.encode(), message(&case), "{}", case["name"]);
        match decoded {
            Message::Challenge(challenge) => asked = Some(challenge),
            Message::Hello(hello) => {
                let challenge = asked.as_ref().unwrap();
                assert_eq!(hello.signed_bytes(challenge), hex(&case["signed"]));
                assert_eq!(hello.enroll_bytes(challenge), hex(&case["proved"]));
                answered = Some(hello);
            }
            Message::Welcome(welcome) => {
                let proved = Welcome::enroll_bytes(answered.as_ref().unwrap(), &welcome.ca);
                assert_eq!(proved, hex(&case["proved"]));
            }
            Message::Refused(_) => {}
        }
    }
    assert!(answered.is_some());
}

#[test]
fn two_hellos_that_differ_anywhere_are_signed_differently() {
    let mut messages = cases(GREETINGS).into_iter().map(|case| Message::decode(&message(&case)));
    let Some(Ok(Message::Challenge(challenge))) = messages.next() else { panic!("no challenge") };
    let Some(Ok(Message::Hello(hello))) = messages.next() else { panic!("no hello") };
    let mut others = vec![hello.clone(); 10];
    others[0].version = 2;
    others[1].name = "bür".to_owned();
    others[1].platform = "olinux x86_64".to_owned();
    others[2].host_keys = vec!["ssh-ed25519 AAAAssh-rsa BBBB".to_owned()];
    others[3].clock = 5;
    others[4].resume = None;
    others[5].enroll = Some(String::new());
    others[6].capabilities = Vec::new();
    let next = |key: &str, signature: &str| {
        Some(greeting::NextKey { key: key.to_owned(), signature: signature.to_owned() })
    };
    others[7].install_key = Some("k-abcdefghijklmnop".to_owned());
    others[8].next_key = next("ab", "c");
    others[9].next_key = next("a", "bc");
    let mut signed: BTreeSet<Vec<u8>> = others.iter().map(|other| other.signed_bytes(&challenge)).collect();
    signed.insert(hello.signed_bytes(&challenge));
    let elsewhere = Challenge { broker: "lighthouses".to_owned(), ..challenge.clone() };
    signed.insert(hello.signed_bytes(&elsewhere));
    assert_eq!(signed.len(), 12);
}

#[test]
fn the_highest_common_version_is_spoken_or_none() {
    let of = |versions| {
        Challenge { versions, broker: String::new(), nonce: String::new(), knows: Vec::new() }
            .common_version()
    };
    assert_eq!(of((1, 1)), Some(1));
    assert_eq!(of((9, 1)), Some(1));
    assert_eq!(of((9, 2)), None);
    assert_eq!(of((0, 0)), None);
}
