//! A browser's end of a terminal socket, with nothing of the viewer's machine: what it says and
//! sees is up to the test.

use bytes::Bytes;
use moorline_wire::term::Message;
use moorline_wire::term::frame::{HostControl, HostFrame, Size, ViewerControl, ViewerFrame};
use moorline_wire::{Code, Ending, SessionId};

use super::Kit;
use super::agent::{Raw, socket};
use crate::identity::Pass;
use crate::socket::{Incoming, Outgoing};
use crate::user::Visitor;
use crate::warden::Standing;

/// One browser tab.
pub struct Browser {
    raw: Raw,
    key: String,
    /// Its next input offset.
    pub in_next: u64,
    /// The next output offset wanted.
    pub have: u64,
    /// All output since it attached.
    pub output: Vec<u8>,
}

impl Browser {
    /// A socket that has said nothing yet.
    pub fn open(kit: &Kit, session: &SessionId, person: &str) -> Self {
        let visitor = Visitor {
            person: person.to_owned(),
            peer: None,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            request_id: "r-1".into(),
            pass: Pass::Demo,
            standing: Standing { drives: true, kills: true },
            traced: None,
        };
        Self::visit(kit, session, visitor)
    }

    /// The socket of somebody in particular.
    pub fn visit(kit: &Kit, session: &SessionId, visitor: Visitor) -> Self {
        let (ends, raw) = socket();
        kit.users.accept(ends, session.clone(), visitor);
        Self { raw, key: "tab-1".into(), in_next: 0, have: 0, output: Vec::new() }
    }

    /// Opens a socket, attaches with a fresh ticket, and gives the `attached`.
    pub async fn attach(kit: &Kit, session: &SessionId) -> (Self, HostControl) {
        let ticket = kit.users.ticket(session, "anna").unwrap();
        let mut browser = Self::open(kit, session, "anna");
        browser.hello(Some(ticket), None).await;
        let attached = browser.control().await;
        assert!(matches!(attached, HostControl::Attached { .. }), "{attached:?}");
        (browser, attached)
    }

    /// The same page on a new socket: it knows what it knew.
    pub fn again(self, kit: &Kit, session: &SessionId, person: &str) -> Self {
        let Self { key, in_next, have, output, .. } = self;
        Self { key, in_next, have, output, ..Self::open(kit, session, person) }
    }

    /// Says hello with a ticket or a resume token.
    pub async fn hello(&mut self, ticket: Option<String>, resume: Option<String>) {
        let hello = ViewerControl::Hello {
            ticket,
            resume,
            have: Some(self.have),
            viewer: self.key.clone(),
            in_next: self.in_next,
            size: Size { cols: 80, rows: 24, xpx: 0, ypx: 0 },
            role: None,
            caps: Vec::new(),
        };
        self.say(ViewerFrame::Control(hello)).await;
    }

    /// Calls itself another tab.
    pub fn set_key(&mut self, key: &str) {
        self.key = key.to_owned();
    }

    /// Says anything.
    pub async fn say(&mut self, frame: ViewerFrame) {
        let message = match frame.encode() {
            Message::Binary(bytes) => Incoming::Binary(bytes),
            Message::Text(text) => Incoming::Text(text),
        };
        self.say_raw(message).await;
    }

    /// Says anything, even what no viewer would say.
    pub async fn say_raw(&mut self, message: Incoming) {
        self.raw.to.send(message).await.unwrap();
    }

    /// Types.
    pub async fn types(&mut self, text: &'static str) {
        let offset = self.in_next;
        self.in_next += text.len() as u64;
        self.say(ViewerFrame::In { offset, bytes: Bytes::from_static(text.as_bytes()) }).await;
    }

    /// The next frame; `None`: the socket was closed, with this code if with one.
    async fn next(&mut self) -> Result<HostFrame, Option<Code>> {
        loop {
            let message = match self.raw.from.recv().await {
                Some(Outgoing::Binary(bytes)) => Message::Binary(bytes),
                Some(Outgoing::Text(text)) => Message::Text(text),
                Some(Outgoing::Close(code, _)) => return Err(Some(code)),
                None => return Err(None),
            };
            let Some(frame) = HostFrame::decode(message).unwrap() else { continue };
            if let HostFrame::Out { offset, bytes } = &frame {
                assert_eq!(*offset, self.have, "output at another offset than promised");
                self.have += bytes.len() as u64;
                self.output.extend_from_slice(bytes);
                // The socket may be closing, with more for us to read.
                if let Message::Binary(ack) = (ViewerFrame::Ack { offset: self.have }).encode() {
                    let _ = self.raw.to.send(Incoming::Binary(ack)).await;
                }
            }
            return Ok(frame);
        }
    }

    /// The next control message.
    pub async fn control(&mut self) -> HostControl {
        loop {
            match self.next().await {
                Ok(HostFrame::Control(control)) => return control,
                Ok(_) => {}
                Err(code) => panic!("closed with {code:?}"),
            }
        }
    }

    /// Waits for that control message.
    pub async fn until(&mut self, mut is_it: impl FnMut(&HostControl) -> bool) -> HostControl {
        loop {
            let control = self.control().await;
            if is_it(&control) {
                return control;
            }
        }
    }

    /// Waits until the output ends with that.
    pub async fn sees(&mut self, text: &str) {
        while !self.output.ends_with(text.as_bytes()) {
            if let Err(code) = self.next().await {
                panic!("closed with {code:?} before {text:?} was seen");
            }
        }
    }

    /// Waits for anything.
    pub async fn more(&mut self) {
        if let Err(code) = self.next().await {
            panic!("closed with {code:?}");
        }
    }

    /// Waits for the close; gives the last control message before it.
    pub async fn closed(&mut self) -> (Option<HostControl>, Option<Code>) {
        let mut last = None;
        loop {
            match self.next().await {
                Ok(HostFrame::Control(control)) => last = Some(control),
                Ok(_) => {}
                Err(code) => return (last, code),
            }
        }
    }

    /// Waits for the ending; the close must say the same.
    pub async fn ending(&mut self) -> Ending {
        match self.closed().await {
            (Some(HostControl::Ended { ending }), code) => {
                assert_eq!(code, Some(ending.code));
                ending
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a refusal; the close must say the same.
    pub async fn refusal(&mut self) -> Code {
        match self.closed().await {
            (Some(HostControl::Error { code, .. }), closed) => {
                assert_eq!(closed, Some(code));
                code
            }
            other => panic!("{other:?}"),
        }
    }
}
