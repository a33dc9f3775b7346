//! How long a browser takes from output that it was sent to having parsed it: network, page and
//! emulator in one number. One stretch of output at a time is followed; the rest is close enough.

use std::time::{Duration, Instant};

use moorline_wire::term::{HostFrame, ViewerFrame};

/// Follows one viewer's output.
#[derive(Debug, Default)]
pub struct AckClock(Option<Followed>);

#[derive(Debug)]
struct Followed {
    /// The offset after the last byte.
    end: u64,
    sent: Instant,
}

impl AckClock {
    /// A frame goes to the viewer.
    pub fn sent(&mut self, now: Instant, frame: &HostFrame) {
        if let HostFrame::Out { offset, bytes } = frame
            && self.0.is_none()
        {
            self.0 = Some(Followed { end: offset + bytes.len() as u64, sent: now });
        }
    }

    /// A frame came from it; how long the output took that it acknowledges.
    pub fn heard(&mut self, now: Instant, frame: &ViewerFrame) -> Option<Duration> {
        let (ViewerFrame::Ack { offset } | ViewerFrame::Ping { acked: offset, .. }) = frame else {
            return None;
        };
        let followed = self.0.take_if(|followed| followed.end <= *offset)?;
        Some(now.saturating_duration_since(followed.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn out(offset: u64, bytes: &'static [u8]) -> HostFrame {
        HostFrame::Out { offset, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn output_is_followed_until_all_of_it_is_parsed() {
        let (mut clock, start) = (AckClock::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.heard(at(0), &ViewerFrame::Ack { offset: 0 }), None);
        clock.sent(at(0), &out(10, b"abcd"));
        clock.sent(at(5), &out(14, b"efgh"));
        assert_eq!(clock.heard(at(6), &ViewerFrame::Ack { offset: 13 }), None);
        assert_eq!(clock.heard(at(7), &ViewerFrame::Ack { offset: 14 }), Some(Duration::from_millis(7)));
        assert_eq!(clock.heard(at(8), &ViewerFrame::Ack { offset: 18 }), None);
        clock.sent(at(9), &out(18, b"i"));
        let ping = ViewerFrame::Ping { nonce: 1, acked: 19 };
        assert_eq!(clock.heard(at(12), &ping), Some(Duration::from_millis(3)));
    }
}
