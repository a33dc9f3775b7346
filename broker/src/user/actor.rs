//! `UserConnection`: one browser's terminal socket, from its hello to its close.
//!
//! It lives on the arbiter of its socket. Once attached, what the browser does is carried to the
//! session by one future of this actor, which reads the next message only when the session has
//! taken the last: a flood stops at the socket, and this actor's timers and messages run on. While
//! that future holds nothing, what is typed goes from the socket to the session past it ([`Shortcut`]).
//! What the session says goes from the session into the socket directly.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Actor, ActorContext, AsyncContext, Context};
use moorline_wire::term::frame::{HostFrame, ViewerRole};
use moorline_wire::term::{HostControl, Message, ViewerFrame};
use moorline_wire::{Code, SessionId};
use tracing::{debug, warn};

use super::bounds::{ONLY_WATCHES, expulsion, note, says_goodbye};
use super::resume::{ChainId, Given, Secret};
use super::shortcut::Shortcut;
use super::state::{Greeting, Input, Output, Shown, User};
use super::tickets::Grant;
use super::{Shared, Visitor};
use crate::actor::takes_mail;
use crate::clock::{Deadline, now, wall};
use crate::identity::Pass;
use crate::metrics::{Left, Leg, Proof};
use crate::pipe;
use crate::problem::Problem;
use crate::session::{Hello, Joining, Parting, Ways};
use crate::socket::{Incoming, Outgoing, Reflex, SocketEnds};
use crate::token::Hashed;

/// One browser's terminal socket.
pub struct UserConnection {
    state: User,
    shared: Arc<Shared>,
    session: SessionId,
    visitor: Visitor,
    /// `None` while a future of this actor reads it.
    incoming: Option<pipe::Receiver<Incoming>>,
    outgoing: pipe::Sender<Outgoing>,
    reflex: Reflex,
    parting: Parting,
    /// Where the browser's frames go, and which resume token it was given.
    attached: Option<(pipe::Sender<ViewerFrame>, Given)>,
    /// They typed since it was last looked whether they may be here.
    typed: Arc<AtomicBool>,
    deadline: Deadline,
}

impl UserConnection {
    /// A socket that has said nothing yet.
    pub fn new(shared: Arc<Shared>, ends: SocketEnds, session: SessionId, visitor: Visitor) -> Self {
        let hello_within = shared.parts.config.timing.hello;
        let parting = Parting::new(shared.parts.metrics.clone(), ends.gone);
        Self {
            state: User::new(now(), hello_within, visitor.request_id.clone()),
            shared,
            session,
            visitor,
            incoming: Some(ends.incoming),
            outgoing: ends.outgoing,
            reflex: ends.reflex,
            parting,
            attached: None,
            typed: Arc::default(),
            deadline: Deadline::default(),
        }
    }

    fn happened(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.state.handle(input);
        self.drive(ctx);
    }

    /// Carries out everything that is pending, then sleeps until the next deadline.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Join(greeting) => self.join(greeting, ctx),
                Output::Carry => self.carry(ctx),
                Output::TimedOut(what) => self.shared.parts.metrics.timeout(what),
                Output::AskWhy => self.ask_why(ctx),
                Output::Say(control) => self.say(*control),
                Output::Close(code, text) => {
                    debug!(session = %self.session, %code, "terminal closed");
                    // A socket that takes no more closes when its ends are dropped, a line below.
                    let _ = self.outgoing.try_send(Outgoing::Close(code, text));
                }
                Output::Stop => ctx.stop(),
            }
        }
        self.deadline.arm(ctx, self.state.poll_timeout(), |user, ctx| {
            user.deadline.passed();
            user.state.handle_timeout(now());
            user.drive(ctx);
        });
    }

    fn say(&self, control: HostControl) {
        let _ = self.outgoing.try_send(told(control));
    }

    /// Sends them away as soon as they may not be here any more. In demo mode everybody may.
    fn watch_over(&self, ctx: &mut Context<Self>) {
        let Visitor { pass, standing, .. } = self.visitor.clone();
        if pass == Pass::Demo {
            return;
        }
        let (shared, session, typed) = (self.shared.clone(), self.session.clone(), self.typed.clone());
        let expulsion = expulsion(shared, session, pass, standing, typed);
        ctx.spawn(expulsion.into_actor(self).map(|(code, text), user, ctx| {
            user.happened(Input::Expelled(code, text), ctx);
        }));
    }

    fn listen_for_hello(&mut self, ctx: &mut Context<Self>) {
        let Some(mut incoming) = self.incoming.take() else { return };
        let first = async move {
            let first = incoming.recv().await;
            (first, incoming)
        };
        ctx.spawn(first.into_actor(self).map(|(first, incoming), user, ctx| {
            user.incoming = Some(incoming);
            let input = match first {
                Some(message) => Input::Said(decode(message)),
                None => Input::SocketGone,
            };
            user.happened(input, ctx);
        }));
    }

    /// Checks what they show, then joins the session. The socket is watched meanwhile.
    fn join(&mut self, greeting: Greeting, ctx: &mut Context<Self>) {
        let grant = Grant { session: self.session.clone(), person: self.visitor.person.clone() };
        let (given, resume) = match self.shared.let_in(&greeting.shown, &grant) {
            Ok(let_in) => let_in,
            Err(problem) => return self.turn_away(&greeting.shown, &grant, problem, ctx),
        };
        let resumed = matches!(greeting.shown, Shown::Resume(_));
        if resumed {
            self.shared.parts.metrics.session_resumed(Leg::Browser);
        }
        let Greeting { have, viewer, in_next, size, mut role, .. } = greeting;
        if !self.visitor.standing.drives {
            role = Some(ViewerRole::Watcher);
        }
        let hello = Hello { have, viewer, in_next, size, role, resumed };
        let (shared, session) = (self.shared.clone(), self.session.clone());
        let who = self.visitor.person.clone();
        let ways = Ways { outgoing: self.outgoing.clone(), parting: self.parting.clone() };
        let joining = async move {
            let resume = resume.as_str().to_owned();
            shared.parts.sessions.join(&session, who, hello, resume, ways).await
        };
        ctx.spawn(joining.into_actor(self).map(move |joined, user, ctx| {
            let input = match joined {
                Ok(frames) => {
                    user.attached = Some((frames, given));
                    Input::Joined
                }
                Err(Joining::Ended(ending)) => {
                    user.shared.session_is_over(&user.session);
                    Input::Ended(ending)
                }
                Err(Joining::Refused(problem)) => Input::Refused(problem.code, problem.text),
            };
            user.happened(input, ctx);
        }));
    }

    /// What they show is worth nothing here. Whoever was given it once hears how the session ended, if
    /// that is why.
    fn turn_away(&self, shown: &Shown, grant: &Grant, problem: Problem, ctx: &mut Context<Self>) {
        let ours = matches!(shown, Shown::Resume(token) if self.shared.gate().resumes.is_ours(token, grant));
        let (shared, session) = (self.shared.clone(), self.session.clone());
        let asking = async move {
            if ours { shared.parts.sessions.ending(&session).await.ok().flatten() } else { None }
        };
        ctx.spawn(asking.into_actor(self).map(move |ending, user, ctx| {
            let input = ending.map_or_else(|| user.refusal(problem), Input::Ended);
            user.happened(input, ctx);
        }));
    }

    fn refusal(&self, problem: Problem) -> Input {
        self.shared.parts.metrics.auth_failure(Proof::Terminal);
        warn!(session = %self.session, peer = ?self.visitor.peer, code = %problem.code, "attach refused");
        Input::Refused(problem.code, problem.text)
    }

    /// Carries frames from the socket to the session until one of them ends.
    fn carry(&mut self, ctx: &mut Context<Self>) {
        let (Some(mut incoming), Some((frames, given))) = (self.incoming.take(), self.attached.clone())
        else {
            return;
        };
        let (shared, session, visitor) = (self.shared.clone(), self.session.clone(), self.visitor.clone());
        let (typed, outgoing) = (self.typed.clone(), self.outgoing.clone());
        let (parting, reflex) = (self.parting.clone(), self.reflex.clone());
        let carrying = async move {
            let mut first = true;
            let shortcut = Shortcut::new(reflex);
            loop {
                shortcut.is_open(true);
                let message = tokio::select! {
                    message = incoming.recv() => message,
                    // The socket stays open until it was said why.
                    () = frames.closed() => return (Input::SessionGone, Some(incoming)),
                };
                // What comes meanwhile is not to overtake this one.
                shortcut.is_open(false);
                let Some(message) = message else { return (Input::SocketGone, None) };
                // Whoever answers has got the answer to their hello, and the new token in it.
                if std::mem::take(&mut first) {
                    shared.arrived(given);
                    shortcut.lead_to(frames.clone(), typed.clone());
                }
                let frame = match decode(message) {
                    Ok(Some(frame)) => frame,
                    // A message that this version ignores.
                    Ok(None) => continue,
                    Err(code) => return (Input::Violated(code), Some(incoming)),
                };
                if !visitor.standing.allows(&frame) {
                    // Whoever does not read what they are told does not hear of it.
                    let _ = outgoing.try_send(told(HostControl::Notice { text: ONLY_WATCHES.to_owned() }));
                    continue;
                }
                if says_goodbye(&frame) {
                    parting.because(Left::Closed.label());
                }
                note(&frame, &typed, &shared, &session, &visitor);
                if frames.send(frame).await.is_err() {
                    return (Input::SessionGone, Some(incoming));
                }
            }
        };
        ctx.spawn(carrying.into_actor(self).map(|(end, incoming), user, ctx| {
            user.incoming = incoming;
            match end {
                Input::SocketGone => user.parting.socket_gone(),
                Input::Violated(code) => user.parting.because(code.name()),
                _ => {}
            }
            user.happened(end, ctx);
        }));
    }

    /// The session let go of this browser: because it is over, or of this browser only.
    fn ask_why(&mut self, ctx: &mut Context<Self>) {
        let (shared, session) = (self.shared.clone(), self.session.clone());
        let asking = async move { shared.parts.sessions.ending(&session).await };
        ctx.spawn(asking.into_actor(self).map(|why, user, ctx| {
            let input = match why {
                Ok(Some(ending)) => {
                    user.shared.session_is_over(&user.session);
                    Input::Ended(ending)
                }
                // It has said so itself, with a close that comes before whatever we say now; or its
                // actor failed, and its successor will take them.
                Ok(None) => Input::Refused(Code::INTERRUPTED, Code::INTERRUPTED.sentence().to_owned()),
                Err(Problem { code, text, .. }) => Input::Refused(code, text),
            };
            user.happened(input, ctx);
        }));
    }
}

fn told(control: HostControl) -> Outgoing {
    match HostFrame::Control(control).encode() {
        Message::Binary(bytes) => Outgoing::Binary(bytes),
        Message::Text(text) => Outgoing::Text(text),
    }
}

/// `Ok(None)`: a message that this version ignores.
pub(super) fn decode(message: Incoming) -> Result<Option<ViewerFrame>, Code> {
    let message = match message {
        Incoming::Binary(bytes) => Message::Binary(bytes),
        Incoming::Text(text) => Message::Text(text),
    };
    ViewerFrame::decode(message).map_err(|violation| violation.code)
}

takes_mail!(UserConnection);

impl Actor for UserConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen_for_hello(ctx);
        self.watch_over(ctx);
        self.drive(ctx);
    }
}

impl Shared {
    /// Whether what they show is worth something here; if so, what they get for the next time.
    fn let_in(&self, shown: &Shown, grant: &Grant) -> Result<(Given, Secret), Problem> {
        let chain = ChainId::fresh()?;
        let mut gate = self.gate();
        let let_in = match shown {
            Shown::Ticket(ticket) => gate
                .tickets
                .redeem(now(), Hashed::of(ticket), grant)
                .then(|| gate.resumes.begin(wall(), chain, grant.clone())),
            Shown::Resume(token) => gate.resumes.redeem(wall(), token, grant),
        };
        drop(gate);
        let_in.ok_or_else(|| Problem::new(Code::TICKET_EXPIRED))
    }

    fn arrived(&self, given: Given) {
        self.gate().resumes.arrived(given);
    }

    fn session_is_over(&self, session: &SessionId) {
        self.gate().resumes.forget(session);
    }
}
