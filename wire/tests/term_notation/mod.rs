//! How the golden files write frames.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a golden file that cannot be read fails the test")]

use bytes::Bytes;
use moorline_wire::term::{HostFrame, Size, ViewerFrame};
use serde_json::{Value, json};

/// `61 62 00*7`: hex, with or without blanks, and a byte so many times.
pub fn bytes_of(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in notation.split_whitespace() {
        let (hex, times) = word.split_once('*').unwrap_or((word, "1"));
        let piece: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        for _ in 0..times.parse::<usize>().unwrap() {
            bytes.extend_from_slice(&piece);
        }
    }
    bytes
}

fn bytes_in(frame: &Value) -> Bytes {
    Bytes::from(bytes_of(frame["bytes"].as_str().unwrap()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(frame: &Value, name: &str) -> u64 {
    frame[name].as_u64().unwrap_or_else(|| panic!("{frame} lacks {name}"))
}

pub fn size_of(value: &Value) -> Size {
    serde_json::from_value(value.clone()).unwrap()
}

pub fn host_frame(frame: &Value) -> HostFrame {
    let small = |name| u32::try_from(number(frame, name)).unwrap();
    let side = |name| u16::try_from(number(frame, name)).unwrap();
    match frame["kind"].as_str().unwrap() {
        "out" => HostFrame::Out { offset: number(frame, "offset"), bytes: bytes_in(frame) },
        "in_ack" => HostFrame::InAck { offset: number(frame, "offset") },
        "pong" => HostFrame::Pong {
            nonce: small("nonce"),
            device_rtt_us: small("device_rtt_us"),
            head: number(frame, "head"),
        },
        "snap" => HostFrame::Snap {
            offset: number(frame, "offset"),
            cols: side("cols"),
            rows: side("rows"),
            bytes: bytes_in(frame),
        },
        "control" => HostFrame::Control(serde_json::from_value(frame["control"].clone()).unwrap()),
        other => panic!("no frame is called {other}"),
    }
}

pub fn viewer_frame(frame: &Value) -> ViewerFrame {
    let small = |name| u32::try_from(number(frame, name)).unwrap();
    match frame["kind"].as_str().unwrap() {
        "in" => ViewerFrame::In { offset: number(frame, "offset"), bytes: bytes_in(frame) },
        "ack" => ViewerFrame::Ack { offset: number(frame, "offset") },
        "ping" => ViewerFrame::Ping { nonce: small("nonce"), acked: number(frame, "acked") },
        "resize" => ViewerFrame::Resize { seq: small("seq"), size: size_of(&frame["size"]) },
        "signal" => ViewerFrame::Signal { number: u8::try_from(number(frame, "number")).unwrap() },
        "control" => ViewerFrame::Control(serde_json::from_value(frame["control"].clone()).unwrap()),
        other => panic!("no frame is called {other}"),
    }
}

pub fn host_json(frame: &HostFrame) -> Value {
    match frame {
        HostFrame::Out { offset, bytes } => json!({"kind": "out", "offset": offset, "bytes": hex(bytes)}),
        HostFrame::InAck { offset } => json!({"kind": "in_ack", "offset": offset}),
        HostFrame::Pong { nonce, device_rtt_us, head } => {
            json!({"kind": "pong", "nonce": nonce, "device_rtt_us": device_rtt_us, "head": head})
        }
        HostFrame::Snap { offset, cols, rows, bytes } => {
            json!({"kind": "snap", "offset": offset, "cols": cols, "rows": rows, "bytes": hex(bytes)})
        }
        HostFrame::Control(control) => json!({"kind": "control", "control": control}),
    }
}

pub fn viewer_json(frame: &ViewerFrame) -> Value {
    match frame {
        ViewerFrame::In { offset, bytes } => json!({"kind": "in", "offset": offset, "bytes": hex(bytes)}),
        ViewerFrame::Ack { offset } => json!({"kind": "ack", "offset": offset}),
        ViewerFrame::Ping { nonce, acked } => json!({"kind": "ping", "nonce": nonce, "acked": acked}),
        ViewerFrame::Resize { seq, size } => json!({"kind": "resize", "seq": seq, "size": size}),
        ViewerFrame::Signal { number } => json!({"kind": "signal", "number": number}),
        ViewerFrame::Control(control) => json!({"kind": "control", "control": control}),
    }
}
