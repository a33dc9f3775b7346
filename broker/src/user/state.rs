//! What is decided about one browser's terminal socket: pure, without actors, sockets and clock.
//!
//! ```text
//! WaitingForHello ─hello→ Joining ─joined→ Attached
//!        └──────────────────┴────────────────┴──→ Over
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use moorline_wire::term::frame::{HostControl, Size, ViewerControl, ViewerFrame, ViewerRole};
use moorline_wire::{Code, Ending};

use crate::metrics::Wait;

/// What somebody shows to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A ticket.
    Ticket(String),
    /// The resume token of their last attach.
    Resume(String),
}

/// The first message, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// What they show.
    pub shown: Shown,
    /// The next output offset wanted.
    pub have: Option<u64>,
    /// The viewer's key.
    pub viewer: String,
    /// Its next input offset.
    pub in_next: u64,
    /// The size of its terminal.
    pub size: Size,
    /// What it wants to be.
    pub role: Option<ViewerRole>,
}

/// A viewer's key is chosen by its page; longer ones are nobody's.
const KEY_BYTES_MAX: usize = 64;

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The first message came; `Err`: it cannot be read.
    Said(Result<Option<ViewerFrame>, Code>),
    /// The session takes them.
    Joined,
    /// The session is over.
    Ended(Ending),
    /// Something else is in the way.
    Refused(Code, String),
    /// A later message broke the protocol.
    Violated(Code),
    /// The session is gone without a word.
    SessionGone,
    /// They may not be here any more, or not as they were.
    Expelled(Code, String),
    /// The socket is gone.
    SocketGone,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Check what they show and join the session.
    Join(Greeting),
    /// Carry what they do to the session from now on.
    Carry,
    /// A wait reached its limit; for the metrics.
    TimedOut(Wait),
    /// Ask why the session is over, and come back with `Ended` or `Refused`.
    AskWhy,
    /// Tell them.
    Say(Box<HostControl>),
    /// Close the socket.
    Close(Code, String),
    /// It is over.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WaitingForHello {
        until: Instant,
    },
    Joining,
    Attached,
    /// The session is gone; why is being asked.
    Asking,
    Over,
}

/// One browser's terminal socket.
#[derive(Debug)]
pub struct User {
    phase: Phase,
    request_id: String,
    outputs: VecDeque<Output>,
}

impl User {
    /// A socket that was just opened.
    pub fn new(now: Instant, hello_within: Duration, request_id: String) -> Self {
        let phase = Phase::WaitingForHello { until: now + hello_within };
        Self { phase, request_id, outputs: VecDeque::new() }
    }

    /// Decides.
    pub fn handle(&mut self, input: Input) {
        match (self.phase, input) {
            (Phase::Over, _) => {}
            (_, Input::SocketGone) => self.stop(),
            (_, Input::Expelled(code, text)) => self.refuse(code, text),
            (Phase::WaitingForHello { .. }, Input::Said(said)) => self.said(said),
            (Phase::Joining, Input::Joined) => {
                self.phase = Phase::Attached;
                self.outputs.push_back(Output::Carry);
            }
            (Phase::Joining | Phase::Asking, Input::Ended(ending)) => {
                let (code, text) = (ending.code, ending.text.clone());
                self.outputs.push_back(Output::Say(Box::new(HostControl::Ended { ending })));
                self.close(code, text);
            }
            (Phase::Joining | Phase::Asking, Input::Refused(code, text)) => self.refuse(code, text),
            (Phase::Attached, Input::Violated(code)) => self.refuse(code, code.sentence().to_owned()),
            (Phase::Attached, Input::SessionGone) => {
                self.phase = Phase::Asking;
                self.outputs.push_back(Output::AskWhy);
            }
            // What comes too late to matter.
            _ => {}
        }
    }

    /// To be called at `poll_timeout`; harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.outputs.push_back(Output::TimedOut(Wait::Hello));
            self.refuse(Code::HELLO_TIMEOUT, Code::HELLO_TIMEOUT.sentence().to_owned());
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called: when to give up waiting for the hello.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::WaitingForHello { until } => Some(until),
            _ => None,
        }
    }

    fn said(&mut self, said: Result<Option<ViewerFrame>, Code>) {
        match said.map(|frame| frame.and_then(greeting)) {
            Ok(Some(greeting)) => {
                self.phase = Phase::Joining;
                self.outputs.push_back(Output::Join(greeting));
            }
            Ok(None) => self.refuse(Code::PROTOCOL, "The first message was not a hello.".to_owned()),
            Err(code) => self.refuse(code, code.sentence().to_owned()),
        }
    }

    /// Tells a person what is in the way, as a message before the close: proxies eat close frames.
    fn refuse(&mut self, code: Code, text: String) {
        let request_id = Some(self.request_id.clone());
        let remedy = code.remedy().to_owned();
        let error = HostControl::Error { code, text: text.clone(), remedy, request_id };
        self.outputs.push_back(Output::Say(Box::new(error)));
        self.close(code, text);
    }

    fn close(&mut self, code: Code, text: String) {
        self.outputs.push_back(Output::Close(code, text));
        self.stop();
    }

    fn stop(&mut self) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Stop);
    }
}

fn greeting(frame: ViewerFrame) -> Option<Greeting> {
    let ViewerFrame::Control(ViewerControl::Hello {
        ticket, resume, have, viewer, in_next, size, role, ..
    }) = frame
    else {
        return None;
    };
    let shown = match (ticket, resume) {
        (Some(ticket), None) => Shown::Ticket(ticket),
        (None, Some(resume)) => Shown::Resume(resume),
        _ => return None,
    };
    let possible = !viewer.is_empty() && viewer.len() <= KEY_BYTES_MAX;
    possible.then_some(Greeting { shown, have, viewer, in_next, size, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> (User, Instant) {
        let now = Instant::now();
        (User::new(now, Duration::from_secs(5), "r-1".into()), now)
    }

    fn outputs(user: &mut User) -> Vec<Output> {
        std::iter::from_fn(|| user.poll_output()).collect()
    }

    fn hello(ticket: Option<&str>, resume: Option<&str>, viewer: &str) -> Input {
        let size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
        Input::Said(Ok(Some(ViewerFrame::Control(ViewerControl::Hello {
            ticket: ticket.map(str::to_owned),
            resume: resume.map(str::to_owned),
            have: None,
            viewer: viewer.to_owned(),
            in_next: 0,
            size,
            role: None,
            caps: Vec::new(),
        }))))
    }

    fn closed_with(outputs: &[Output]) -> Code {
        match &outputs[outputs.len() - 3..] {
            [Output::Say(_), Output::Close(code, _), Output::Stop] => *code,
            other => panic!("{other:?}"),
        }
    }

    fn attached() -> User {
        let (mut user, _) = user();
        user.handle(hello(Some("t"), None, "v"));
        user.handle(Input::Joined);
        outputs(&mut user);
        user
    }

    #[test]
    fn who_says_nothing_for_5_s_is_told_and_closed() {
        let (mut user, now) = user();
        assert_eq!(user.poll_timeout(), Some(now + Duration::from_secs(5)));
        user.handle_timeout(now + Duration::from_secs(4));
        assert_eq!(outputs(&mut user), []);
        user.handle_timeout(now + Duration::from_secs(5));
        let outputs = outputs(&mut user);
        assert_eq!(outputs[0], Output::TimedOut(Wait::Hello));
        assert_eq!(closed_with(&outputs), Code::HELLO_TIMEOUT);
        assert_eq!(user.poll_timeout(), None);
    }

    #[test]
    fn a_hello_shows_exactly_one_of_ticket_and_resume_token() {
        for (ticket, resume, good) in [
            (Some("t"), None, true),
            (None, Some("r"), true),
            (None, None, false),
            (Some("t"), Some("r"), false),
        ] {
            let (mut user, _) = user();
            user.handle(hello(ticket, resume, "v"));
            let outputs = outputs(&mut user);
            assert_eq!(matches!(outputs[0], Output::Join(_)), good);
            if !good {
                assert_eq!(closed_with(&outputs), Code::PROTOCOL);
            }
        }
    }

    #[test]
    fn a_viewer_key_that_no_page_would_choose_is_refused() {
        for key in ["", &"x".repeat(65)] {
            let (mut user, _) = user();
            user.handle(hello(Some("t"), None, key));
            assert_eq!(closed_with(&outputs(&mut user)), Code::PROTOCOL);
        }
    }

    #[test]
    fn a_first_message_that_is_no_hello_or_cannot_be_read_is_refused() {
        let first = [
            (Input::Said(Ok(Some(ViewerFrame::Ack { offset: 0 }))), Code::PROTOCOL),
            (Input::Said(Ok(None)), Code::PROTOCOL),
            (Input::Said(Err(Code::TOO_LARGE)), Code::TOO_LARGE),
        ];
        for (said, code) in first {
            let (mut user, _) = user();
            user.handle(said);
            assert_eq!(closed_with(&outputs(&mut user)), code);
        }
    }

    #[test]
    fn a_session_that_is_over_is_told_as_its_ending() {
        let (mut user, _) = user();
        user.handle(hello(Some("t"), None, "v"));
        outputs(&mut user);
        let ending = Ending::killed("anna", Some("maintenance"));
        user.handle(Input::Ended(ending.clone()));
        let outputs = outputs(&mut user);
        assert_eq!(outputs[0], Output::Say(Box::new(HostControl::Ended { ending })));
        assert_eq!(closed_with(&outputs), Code::KILLED);
    }

    #[test]
    fn a_session_that_vanishes_is_asked_about_and_then_told() {
        let mut user = attached();
        user.handle(Input::SessionGone);
        assert_eq!(outputs(&mut user), [Output::AskWhy]);
        user.handle(Input::Ended(Ending::of(Code::INTERNAL)));
        assert_eq!(closed_with(&outputs(&mut user)), Code::INTERNAL);
    }

    #[test]
    fn a_socket_that_is_gone_ends_it_at_every_point() {
        let (mut waiting, _) = user();
        let (mut joining, _) = user();
        joining.handle(hello(Some("t"), None, "v"));
        outputs(&mut joining);
        for mut user in [waiting_taken(&mut waiting), waiting_taken(&mut joining), attached()] {
            user.handle(Input::SocketGone);
            assert_eq!(outputs(&mut user), [Output::Stop]);
            user.handle(Input::SessionGone);
            assert_eq!(outputs(&mut user), []);
        }
    }

    fn waiting_taken(user: &mut User) -> User {
        let now = Instant::now();
        std::mem::replace(user, User::new(now, Duration::from_secs(5), String::new()))
    }

    #[test]
    fn who_may_not_be_here_any_more_is_told_why_at_every_point() {
        let (waiting, _) = user();
        let (mut joining, _) = user();
        joining.handle(hello(Some("t"), None, "v"));
        outputs(&mut joining);
        for mut user in [waiting, joining, attached()] {
            user.handle(Input::Expelled(Code::LOGIN_EXPIRED, "Your login is over.".into()));
            assert_eq!(closed_with(&outputs(&mut user)), Code::LOGIN_EXPIRED);
            user.handle(Input::Expelled(Code::POLICY, String::new()));
            assert_eq!(outputs(&mut user), []);
        }
    }

    #[test]
    fn a_broken_frame_is_told_with_the_request_id() {
        let mut user = attached();
        user.handle(Input::Violated(Code::PROTOCOL));
        let outputs = outputs(&mut user);
        let Output::Say(said) = &outputs[0] else { panic!("{outputs:?}") };
        let HostControl::Error { request_id, .. } = said.as_ref() else { panic!("{said:?}") };
        assert_eq!(request_id.as_deref(), Some("r-1"));
        assert_eq!(closed_with(&outputs), Code::PROTOCOL);
    }
}
