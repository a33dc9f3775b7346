//! What somebody may do in a terminal, and for how long they may be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moorline_wire::term::{ViewerControl, ViewerFrame};
use moorline_wire::{Code, SessionId};

use super::{Shared, Visitor};
use crate::clock::wall;
use crate::identity::{Pass, Use};
use crate::problem::Problem;
use crate::store::AuditRow;
use crate::warden::Standing;

/// What is said to whoever wants more than they may.
pub(super) const ONLY_WATCHES: &str = "You may look at this session, and not more.";

impl Standing {
    /// Whether they may do this. What a watcher types is left to the host, which drops it and says so.
    pub(super) fn allows(self, frame: &ViewerFrame) -> bool {
        match frame {
            ViewerFrame::Control(ViewerControl::TakeControl)
            | ViewerFrame::Signal { .. }
            | ViewerFrame::Resize { .. } => self.drives,
            ViewerFrame::Control(ViewerControl::Kill { .. }) => self.kills,
            _ => true,
        }
    }
}

/// Whether they say that they go, so that the end of their connection is no fault of the network.
pub(super) fn says_goodbye(frame: &ViewerFrame) -> bool {
    matches!(frame, ViewerFrame::Control(ViewerControl::Detach | ViewerControl::Leaving))
}

/// Notes what must be known of a frame: that somebody works, and that somebody ends the session.
pub(super) fn note(
    frame: &ViewerFrame,
    typed: &AtomicBool,
    shared: &Shared,
    session: &SessionId,
    visitor: &Visitor,
) {
    match frame {
        ViewerFrame::In { .. } => typed.store(true, Ordering::Relaxed),
        ViewerFrame::Control(ViewerControl::Kill { .. }) => shared.parts.audit.record(AuditRow {
            seq: 0,
            at: wall(),
            who: visitor.person.clone(),
            what: "session_kill".to_owned(),
            target: session.to_string(),
            address: visitor.address.to_string(),
            outcome: "done".to_owned(),
            request_id: visitor.request_id.clone(),
        }),
        _ => {}
    }
}

/// Waits until they may not be here any more, or not as they were; gives the reason.
pub(super) async fn expulsion(
    shared: Arc<Shared>,
    session: SessionId,
    pass: Pass,
    before: Standing,
    typed: Arc<AtomicBool>,
) -> (Code, String) {
    let warden = &shared.parts.warden;
    let mut changes = warden.changes();
    loop {
        warden.time_to_look(&mut changes).await;
        let how = if typed.swap(false, Ordering::Relaxed) { Use::Works } else { Use::Looks };
        match warden.standing(&pass, &session, how).await {
            Ok(now) if now == before => {}
            // They come back by themselves, as what they are now.
            Ok(_) => return (Code::INTERRUPTED, Code::INTERRUPTED.sentence().to_owned()),
            // A broker that cannot look takes nothing away from anybody.
            Err(problem) if problem.code.http_status() >= 500 => {}
            Err(Problem { code, text, .. }) => return (code, text),
        }
    }
}
