//! The broker: carries what the page says to the keeper, and back.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use moorline_wire::keep::{Decoder, FromKeeper, OrderControl, ToKeeper};
use moorline_wire::link::Role;
use moorline_wire::term::frame::{HostControl, Size, ViewerControl, ViewerRole};
use moorline_wire::term::{Message, ViewerFrame};

use crate::end::End;

/// How the broker calls the page.
const VIEWER: u64 = 1;

/// See the module.
pub struct Broker {
    /// Its end of the link.
    pub end: End,
    decoder: Decoder,
}

impl Broker {
    /// With a link to the device, and one stream in it.
    pub fn new(now: Instant) -> Self {
        Self { end: End::new(Role::Broker, now), decoder: Decoder::after_preamble() }
    }

    /// A message of the page.
    pub fn page_said(&mut self, message: Message) {
        let frame = ViewerFrame::decode(message).expect("the page keeps the rules");
        let for_keeper = match frame.expect("both ends have the same version") {
            ViewerFrame::Control(ViewerControl::Hello { have, viewer, in_next, size, .. }) => {
                ToKeeper::Order(join(viewer, have, in_next, size))
            }
            frame => ToKeeper::Frame(VIEWER, frame),
        };
        self.end.write(for_keeper.encode());
    }

    /// A frame of the device. Gives the page's WebSocket what the keeper says.
    pub fn device_said(&mut self, now: Instant, frame: Bytes, socket: &mut VecDeque<Message>) {
        self.end.came(now, frame);
        loop {
            let bytes = self.end.read();
            if bytes.is_empty() {
                return;
            }
            self.decoder.push(bytes);
            while let Some(raw) = self.decoder.next_message().expect("the keeper keeps the rules") {
                if let Some(FromKeeper::Frame(_, frame)) =
                    FromKeeper::decode(raw).expect("the keeper keeps the rules")
                {
                    socket.push_back(frame.encode());
                }
            }
        }
    }
}

fn join(key: String, have: Option<u64>, in_next: u64, size: Size) -> OrderControl {
    let session = format!("s-{}", "a".repeat(26)).parse();
    let attached = HostControl::Attached {
        session: session.expect("it has the form of an id"),
        resume: String::new(),
        role: ViewerRole::Driver,
        from: 0,
        head: 0,
        in_ack: 0,
        window: 256 * 1024,
        in_window: 128 * 1024,
        ping_ms: 5_000,
        dead_ms: 15_000,
        size,
        gap: None,
        snapshot: false,
        kept_s: 86_400,
        keeper: true,
        device: "a-device".to_owned(),
        login: "somebody".to_owned(),
    };
    OrderControl::Join {
        viewer: VIEWER,
        key,
        who: "somebody".to_owned(),
        have,
        in_next,
        size,
        role: ViewerRole::Driver,
        attached: Box::new(attached),
    }
}
