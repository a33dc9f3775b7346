//! The way of a key from the socket into its session, past the connection's own task.
//!
//! Each task on the way of a key is a turn that it waits for beside a flood. What is typed and what is acknowledged needs
//! nothing of the connection but to be understood, so the socket gives it to the session at once, as long as nothing that came before is still on
//! its way there and the session has room. Everything else, and everything that breaks a rule, goes to the
//! connection. Socket and connection live on one thread, so nothing comes between a look here and what is done after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moorline_wire::term::ViewerFrame;

use super::actor::decode;
use crate::pipe;
use crate::socket::{Answers, Heard, Incoming, Reflex};

/// See the module. Dropped, there is none.
#[derive(Debug)]
pub(super) struct Shortcut {
    reflex: Reflex,
    open: Arc<AtomicBool>,
}

impl Shortcut {
    /// None yet.
    pub(super) fn new(reflex: Reflex) -> Self {
        Self { reflex, open: Arc::default() }
    }

    /// Whether nothing is on its way to the session.
    pub(super) fn is_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// From now on it leads there, while it is open. `typed` is set when somebody types.
    pub(super) fn lead_to(&self, frames: pipe::Sender<ViewerFrame>, typed: Arc<AtomicBool>) {
        let open = self.open.clone();
        self.reflex.set(
            move |message| {
                if open.load(Ordering::Acquire) { take(message, &frames, &typed) } else { None }
            },
        );
    }
}

impl Drop for Shortcut {
    fn drop(&mut self) {
        self.reflex.clear();
    }
}

fn take(message: &Heard<'_>, frames: &pipe::Sender<ViewerFrame>, typed: &AtomicBool) -> Option<Answers> {
    let room = frames.try_reserve().ok()?;
    let frame = decode(Incoming::Binary(message.to_bytes())).ok().flatten()?;
    match &frame {
        ViewerFrame::In { .. } => typed.store(true, Ordering::Relaxed),
        ViewerFrame::Ack { .. } => {}
        _ => return None,
    }
    room.send(frame);
    Some(Answers::default())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use moorline_wire::term::Message;

    use super::*;
    use crate::pipe::pipe;

    fn said(frame: ViewerFrame) -> Bytes {
        match frame.encode() {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
        }
    }

    fn key(offset: u64) -> ViewerFrame {
        ViewerFrame::In { offset, bytes: Bytes::from_static(b"k") }
    }

    #[test]
    fn keys_and_acknowledgements_go_past_the_connection_and_nothing_else_does() {
        let (reflex, typed) = (Reflex::default(), Arc::new(AtomicBool::new(false)));
        let (frames, _session) = pipe(8);
        let shortcut = Shortcut::new(reflex.clone());
        shortcut.lead_to(frames, typed.clone());
        assert_eq!(reflex.react(&Heard::Any(&said(key(0)))), None, "it is not open yet");
        shortcut.is_open(true);
        assert_eq!(
            reflex.react(&Heard::Any(&said(ViewerFrame::Ack { offset: 0 }))),
            Some(Answers::default())
        );
        assert!(!typed.load(Ordering::Relaxed));
        assert_eq!(reflex.react(&Heard::Any(&said(key(0)))), Some(Answers::default()));
        assert!(typed.load(Ordering::Relaxed));
        for other in [ViewerFrame::Signal { number: 2 }, ViewerFrame::Ping { nonce: 1, acked: 0 }] {
            assert_eq!(reflex.react(&Heard::Any(&said(other))), None);
        }
        assert_eq!(
            reflex.react(&Heard::Short(b"no frame")),
            None,
            "the connection says what is wrong with it"
        );
        drop(shortcut);
        assert_eq!(reflex.react(&Heard::Any(&said(key(1)))), None);
    }

    #[test]
    fn what_finds_no_room_is_for_the_connection_and_so_is_what_a_session_no_longer_takes() {
        let reflex = Reflex::default();
        let (frames, session) = pipe(2);
        let shortcut = Shortcut::new(reflex.clone());
        shortcut.lead_to(frames, Arc::default());
        shortcut.is_open(true);
        let outcomes = [0, 1, 2].map(|offset| reflex.react(&Heard::Any(&said(key(offset)))));
        assert_eq!(outcomes, [Some(Answers::default()), Some(Answers::default()), None]);
        drop(session);
        assert_eq!(reflex.react(&Heard::Any(&said(key(2)))), None);
    }
}
