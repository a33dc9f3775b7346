//! How the types of this protocol show themselves: never what was typed or seen, never a token.
//! Whatever somebody logs in a hurry, it cannot say more than how many bytes there were.

use std::fmt::{Debug, Formatter, Result};

use super::frame::{HostControl, HostFrame, Message, ViewerControl, ViewerFrame};

/// Shows a count instead of bytes.
pub(crate) struct Quiet(pub(crate) usize);

impl Debug for Quiet {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} bytes", self.0)
    }
}

impl Debug for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Binary(bytes) => f.debug_tuple("Binary").field(&Quiet(bytes.len())).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(&Quiet(text.len())).finish(),
        }
    }
}

impl Debug for HostFrame {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Out { offset, bytes } => write!(f, "Out({offset}, {:?})", Quiet(bytes.len())),
            Self::InAck { offset } => write!(f, "InAck({offset})"),
            Self::Pong { nonce, device_rtt_us, head } => write!(f, "Pong({nonce}, {device_rtt_us}, {head})"),
            Self::Snap { offset, cols, rows, bytes } => {
                write!(f, "Snap({offset}, {cols}x{rows}, {:?})", Quiet(bytes.len()))
            }
            Self::Control(control) => control.fmt(f),
        }
    }
}

impl Debug for ViewerFrame {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::In { offset, bytes } => write!(f, "In({offset}, {:?})", Quiet(bytes.len())),
            Self::Ack { offset } => write!(f, "Ack({offset})"),
            Self::Ping { nonce, acked } => write!(f, "Ping({nonce}, {acked})"),
            Self::Resize { seq, size } => write!(f, "Resize({seq}, {}x{})", size.cols, size.rows),
            Self::Signal { number } => write!(f, "Signal({number})"),
            Self::Control(control) => control.fmt(f),
        }
    }
}

/// What stands in the place of a token.
const HIDDEN: &str = "(hidden)";

impl Debug for HostControl {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shown = self.clone();
        if let Self::Attached { resume, .. } = &mut shown {
            HIDDEN.clone_into(resume);
        }
        f.write_str(&serde_json::to_string(&shown).unwrap_or_default())
    }
}

impl Debug for ViewerControl {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shown = self.clone();
        if let Self::Hello { ticket, resume, .. } = &mut shown {
            for token in [ticket, resume].into_iter().flatten() {
                HIDDEN.clone_into(token);
            }
        }
        f.write_str(&serde_json::to_string(&shown).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use crate::term::frame::{HostControl, HostFrame, Message, Size, ViewerControl, ViewerFrame, ViewerRole};
    use crate::term::host::{Attach, Host, HostConfig, HostInput, HostOutput, ViewerId};
    use crate::term::{Viewer, ViewerOutput};

    const SECRET: &str = "hunter2";
    const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

    fn is_silent(shown: &impl std::fmt::Debug) {
        let shown = format!("{shown:?} {shown:#?}");
        let as_numbers = format!("{:?}", SECRET.as_bytes());
        let inner = as_numbers.trim_matches(['[', ']']);
        assert!(!shown.contains(SECRET) && !shown.contains(inner), "{shown}");
    }

    #[test]
    fn nothing_shows_what_was_typed_or_seen_or_a_token() {
        let (bytes, now) = (Bytes::from_static(SECRET.as_bytes()), Instant::now());
        let mut viewer = Viewer::new("key".into(), SIZE);
        viewer.typed(now, SECRET.as_bytes());
        viewer.pasted(now, bytes.clone());
        is_silent(&viewer);
        let hello = viewer.hello(Some(SECRET.into()), None);
        is_silent(&hello);
        is_silent(&hello.encode());
        is_silent(&viewer.hello(None, Some(SECRET.into())));
        is_silent(&Message::Binary(bytes.clone()));
        is_silent(&HostFrame::Out { offset: 0, bytes: bytes.clone() });
        is_silent(&HostFrame::Snap { offset: 0, cols: 1, rows: 1, bytes: bytes.clone() });
        is_silent(&ViewerFrame::In { offset: 0, bytes: bytes.clone() });
        is_silent(&ViewerOutput::Write(bytes.clone()));
        is_silent(&ViewerOutput::Rebuild { cols: 1, rows: 1, bytes: bytes.clone() });
        is_silent(&HostInput::Output(bytes.clone()));
        is_silent(&HostInput::Snapshot { offset: 0, cols: 1, rows: 1, bytes: bytes.clone() });
        is_silent(&HostOutput::ToShell(bytes.clone()));

        let attached = HostControl::Attached {
            session: "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            resume: SECRET.into(),
            role: ViewerRole::Driver,
            from: 0,
            head: 0,
            in_ack: 0,
            window: 1,
            in_window: 100,
            ping_ms: 1,
            dead_ms: 1,
            size: SIZE,
            gap: None,
            snapshot: false,
            kept_s: 1,
            keeper: false,
            device: String::new(),
            login: String::new(),
        };
        is_silent(&attached);
        let mut host = Host::new(HostConfig::default(), SIZE, now);
        let attach = Attach {
            viewer: ViewerId(1),
            key: "key".into(),
            who: String::new(),
            have: None,
            in_next: 0,
            size: SIZE,
            role: ViewerRole::Driver,
            attached,
        };
        is_silent(&attach);
        host.handle(now, HostInput::Attach(Box::new(attach)));
        host.handle(now, HostInput::Output(bytes.clone()));
        host.handle(
            now,
            HostInput::Frame { viewer: ViewerId(1), frame: ViewerFrame::In { offset: 0, bytes } },
        );
        is_silent(&host);
        is_silent(&ViewerControl::Kill { reason: None });
    }
}
