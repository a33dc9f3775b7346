//! The viewer runs the scripts of `wire/golden/term/*.script`, as its TypeScript twin does.

#![allow(clippy::unwrap_used, reason = "a golden file that cannot be read fails the test")]

mod term_notation;

use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::term::{Viewer, ViewerOutput};
use serde_json::{Value, json};
use term_notation::{bytes_of, hex, host_frame, size_of, viewer_frame, viewer_json};

struct Player {
    viewer: Viewer,
    start: Instant,
    now: Instant,
}

impl Player {
    fn plays(&mut self, line: &Value) {
        if let Some(at) = line["at"].as_u64() {
            self.now = self.start + Duration::from_millis(at);
        }
        let (viewer, now) = (&mut self.viewer, self.now);
        let typed = || match &line["text"] {
            Value::String(text) => text.clone().into_bytes(),
            _ => bytes_of(line["bytes"].as_str().unwrap()),
        };
        match line["op"].as_str().unwrap() {
            "connected" => viewer.connected(now),
            "disconnected" => viewer.disconnected(now),
            "hello" => {
                let token = |name: &str| line[name].as_str().map(str::to_owned);
                let hello = viewer_json(&viewer.hello(token("ticket"), token("resume")));
                let said: Value = serde_json::from_value(hello["control"].clone()).unwrap();
                assert_eq!(said, line["is"], "{line}");
            }
            "receive" => {
                let refused = viewer.receive(now, host_frame(&line["frame"])).is_err();
                assert_eq!(refused, line["violation"] == true, "{line}");
            }
            "typed" => assert!(viewer.typed(now, &typed())),
            "pasted" => assert!(viewer.pasted(now, Bytes::from(typed()))),
            "parsed" => viewer.parsed(now, line["offset"].as_u64().unwrap()),
            "resize" => viewer.resize(now, size_of(&line["size"])),
            "hidden" => viewer.set_hidden(now, line["hidden"] == true),
            "probe" => viewer.probe(now),
            "send" => viewer.send(serde_json::from_value(line["control"].clone()).unwrap()),
            "signal" => viewer.signal(u8::try_from(line["number"].as_u64().unwrap()).unwrap()),
            "pass" => viewer.handle_timeout(now),
            _ => self.shows(line),
        }
    }

    /// The lines that expect something.
    fn shows(&mut self, line: &Value) {
        let Self { viewer, start, now } = self;
        match line["op"].as_str().unwrap() {
            "sends" => {
                let sent: Vec<Value> =
                    std::iter::from_fn(|| viewer.poll_transmit(*now)).map(|f| viewer_json(&f)).collect();
                let expected = line["frames"].as_array().unwrap();
                let expected: Vec<Value> = expected.iter().map(|f| viewer_json(&viewer_frame(f))).collect();
                assert_eq!(sent, expected, "{line}");
            }
            "tells" => {
                // Each end follows from what came before; the Rust side has no need to say it.
                let told: Vec<Value> =
                    std::iter::from_fn(|| viewer.poll_output()).map(|o| output_json(&o)).collect();
                let expected = line["outputs"].as_array().unwrap();
                let expected: Vec<Value> = expected.iter().map(without_end).collect();
                assert_eq!(told, expected, "{line}");
            }
            "timeout" => {
                let due = viewer.poll_timeout().map(|due| (due - *start).as_millis());
                assert_eq!(json!(due.map(|due| due as u64)), line["is"], "{line}");
            }
            "waiting" => assert_eq!(json!(viewer.input_waiting().0), line["bytes"], "{line}"),
            "gauges" => {
                let millis = |time: Option<Duration>| time.map(|time| time.as_micros() as f64 / 1000.0);
                assert_eq!(millis(viewer.rtt()), line["rtt_ms"].as_f64(), "{line}");
                assert_eq!(millis(viewer.device_rtt()), line["device_rtt_ms"].as_f64(), "{line}");
                assert_eq!(json!(viewer.behind()), line["behind"], "{line}");
            }
            other => panic!("no line is called {other}"),
        }
    }
}

fn without_end(output: &Value) -> Value {
    let mut output = output.clone();
    let fields = output.as_object_mut().unwrap();
    fields.remove("end");
    if let Some(bytes) = fields.get_mut("bytes") {
        *bytes = json!(hex(&bytes_of(bytes.as_str().unwrap())));
    }
    output
}

fn output_json(output: &ViewerOutput) -> Value {
    match output {
        ViewerOutput::Write(bytes) => json!({"do": "write", "bytes": hex(bytes)}),
        ViewerOutput::Rebuild { cols, rows, bytes } => {
            json!({"do": "rebuild", "cols": cols, "rows": rows, "bytes": hex(bytes)})
        }
        ViewerOutput::Gap { from, to } => json!({"do": "gap", "from": from, "to": to}),
        ViewerOutput::Control(control) => json!({"do": "control", "control": control}),
        ViewerOutput::PasteCancelled { sent, dropped } => {
            json!({"do": "paste_cancelled", "sent": sent, "dropped": dropped})
        }
        ViewerOutput::Unstable => json!({"do": "unstable"}),
        ViewerOutput::Steady => json!({"do": "steady"}),
        ViewerOutput::Dead => json!({"do": "dead"}),
    }
}

#[test]
fn the_viewer_plays_every_script_as_it_is_written() {
    let folder = format!("{}/golden/term", env!("CARGO_MANIFEST_DIR"));
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "script") {
            continue;
        }
        played += 1;
        let start = Instant::now();
        let size = size_of(&json!({"cols": 80, "rows": 24}));
        let mut player = Player { viewer: Viewer::new("k1".into(), size), start, now: start };
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            if !line.starts_with('{') {
                continue;
            }
            eprintln!("{}:{}", path.display(), number + 1);
            player.plays(&serde_json::from_str(line).unwrap());
        }
    }
    assert!(played >= 7, "only {played} scripts were found");
}
