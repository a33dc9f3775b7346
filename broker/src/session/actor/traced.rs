//! What of a session's way to its shell is traced: one step after the other, each ending with the next.

use moorline_wire::Code;
use moorline_wire::term::frame::Step;
use tracing::Span;

use crate::session::ssh::Program;
use crate::trace::{self, Place, Trace};

/// The trace of the set-up that runs, or of the attempt to take the shell up again; nothing while neither does.
pub struct Traced {
    trace: Option<Trace>,
    step: Span,
    /// The shell was there before anybody came to see it: the first byte is traced when somebody does.
    unseen: Option<Place>,
    /// Somebody came, and waits for the first byte.
    late: bool,
}

impl Traced {
    /// Nothing is under way.
    pub fn none() -> Self {
        Self { trace: None, step: Span::none(), unseen: None, late: false }
    }

    /// This trace goes on, in this step.
    pub fn going_on(trace: Trace, step: Span) -> Self {
        Self { trace: Some(trace), step, ..Self::none() }
    }

    /// Whether something is under way.
    pub fn is_on(&self) -> bool {
        self.late || self.trace.is_some()
    }

    /// That step of the set-up is over, and the next begins.
    pub fn after(&mut self, step: Step, program: &str, anybody: bool) {
        match step {
            // The way to the device was opened before.
            Step::Broker => {}
            Step::Device => self.next("kex"),
            Step::HostKey => self.next("auth"),
            Step::Login => self.next(program),
            Step::Shell if anybody => self.next("first_byte"),
            Step::Shell => {
                let unseen = self.trace.as_ref().map(|trace| *trace.place());
                *self = Self { unseen, ..Self::none() };
            }
        }
    }

    /// Somebody came to see the shell.
    pub fn seen(&mut self) {
        if let Some(place) = self.unseen.take() {
            self.step = trace::late_step(&place, "first_byte");
            self.late = true;
        }
    }

    /// The device has no keeper after all.
    pub fn plain(&mut self) {
        self.next("shell");
    }

    /// It ends with a failure.
    pub fn failed(&mut self, code: Code) {
        if let Some(trace) = &self.trace {
            trace.failed(code);
        }
        self.over();
    }

    /// Nothing of it is left to be done.
    pub fn over(&mut self) {
        *self = Self::none();
    }

    fn next(&mut self, name: &str) {
        if let Some(trace) = &self.trace {
            self.step = trace.step(name);
        }
    }
}

/// What the last step of a set-up is called.
pub fn last_step(program: &Program) -> &'static str {
    match program {
        Program::Keeper { .. } => "keeper_attach",
        Program::Plain(_) => "shell",
    }
}
