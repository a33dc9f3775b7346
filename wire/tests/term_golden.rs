//! The golden frames: `wire/golden/term/*.txt`, which the TypeScript twin reads as well.

#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

mod term_notation;

use std::sync::LazyLock;

use bytes::Bytes;
use moorline_wire::link::Violation;
use moorline_wire::term::{HostFrame, Message, ViewerFrame};
use serde_json::Value;
use term_notation::{bytes_of, host_frame, host_json, viewer_frame, viewer_json};

struct Case {
    name: String,
    expect: String,
    message: Message,
    frame: Option<Value>,
}

fn cases(file: &str) -> Vec<Case> {
    let path = format!("{}/golden/term/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let cases = text.split("\n== ").skip(1).map(case).collect::<Vec<_>>();
    assert!(cases.len() > 20, "only {} cases", cases.len());
    cases
}

fn case(text: &str) -> Case {
    let (name, rest) = text.split_once('\n').unwrap();
    let field =
        |name: &str| rest.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let binary = field("binary").map(|hex| Message::Binary(Bytes::from(bytes_of(hex))));
    let message = binary.unwrap_or_else(|| Message::Text(field("text").unwrap().to_owned()));
    let frame = field("frame").map(|json| serde_json::from_str(json).unwrap());
    Case { name: name.to_owned(), expect: field("expect").unwrap().to_owned(), message, frame }
}

fn outcome<F>(decoded: &Result<Option<F>, Violation>) -> String {
    match decoded {
        Ok(Some(_)) => "frame".to_owned(),
        Ok(None) => "ignored".to_owned(),
        Err(violation) => format!("violation {}", violation.code),
    }
}

/// Text is compared by what it says, not by how it is written.
fn same_message(one: &Message, other: &Message) -> bool {
    match (one, other) {
        (Message::Text(one), Message::Text(other)) => {
            serde_json::from_str::<Value>(one).unwrap() == serde_json::from_str::<Value>(other).unwrap()
        }
        _ => one == other,
    }
}

#[test]
fn the_frames_of_a_host_are_read_and_written_as_the_golden_file_says() {
    for case in cases("host.txt") {
        let decoded = HostFrame::decode(case.message.clone());
        assert_eq!(outcome(&decoded), case.expect, "{}", case.name);
        let (Ok(Some(frame)), Some(json)) = (decoded, &case.frame) else { continue };
        assert_eq!(frame, host_frame(json), "{}", case.name);
        assert_eq!(host_json(&frame), host_json(&host_frame(json)), "{}", case.name);
        assert!(same_message(&frame.encode(), &case.message), "{}: {:?}", case.name, frame.encode());
    }
}

#[test]
fn the_frames_of_a_viewer_are_read_and_written_as_the_golden_file_says() {
    for case in cases("viewer.txt") {
        let decoded = ViewerFrame::decode(case.message.clone());
        assert_eq!(outcome(&decoded), case.expect, "{}", case.name);
        let (Ok(Some(frame)), Some(json)) = (decoded, &case.frame) else { continue };
        assert_eq!(frame, viewer_frame(json), "{}", case.name);
        assert_eq!(viewer_json(&frame), viewer_json(&viewer_frame(json)), "{}", case.name);
        assert!(same_message(&frame.encode(), &case.message), "{}: {:?}", case.name, frame.encode());
    }
}

/// A change in a megabyte of blanks shows nothing.
static SHORT_CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let all = [cases("host.txt"), cases("viewer.txt")].into_iter().flatten();
    all.filter(|case| matches!(&case.message, Message::Text(_)) || length(&case.message) < 1000).collect()
});

fn length(message: &Message) -> usize {
    match message {
        Message::Binary(bytes) => bytes.len(),
        Message::Text(text) => text.len(),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
        let _ = HostFrame::decode(Message::Binary(Bytes::from(bytes.clone())));
        let _ = ViewerFrame::decode(Message::Binary(Bytes::from(bytes.clone())));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = HostFrame::decode(Message::Text(text.clone()));
        let _ = ViewerFrame::decode(Message::Text(text));
    }

    #[test]
    fn no_changed_golden_frame_makes_the_reader_panic(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        place in proptest::prelude::any::<proptest::sample::Index>(),
        byte in proptest::prelude::any::<u8>(),
    ) {
        let all = &*SHORT_CASES;
        let changed = match &all[at.index(all.len())].message {
            Message::Binary(bytes) if !bytes.is_empty() => {
                let mut bytes = bytes.to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= byte;
                Message::Binary(Bytes::from(bytes))
            }
            Message::Text(text) => {
                let mut bytes = text.clone().into_bytes();
                let place = place.index(bytes.len());
                bytes[place] ^= byte;
                Message::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            same => same.clone(),
        };
        let _ = HostFrame::decode(changed.clone());
        let _ = ViewerFrame::decode(changed);
    }
}
