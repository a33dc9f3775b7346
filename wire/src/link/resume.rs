//! A link goes on over a new transport: what is said of every stream, and what is done with what
//! the peer says.

use std::collections::BTreeMap;

use super::frame::{Frame, Resumed, ResumedState};
use super::machine::{Link, Phase};
use super::{Output, Role, Violation};
use crate::StreamId;

impl Link {
    /// RESUME, the first frame on the new transport.
    pub(super) fn say_resume(&mut self, heard: bool) -> Frame {
        let next_stream = match self.role {
            Role::Broker => self.ever_opened,
            Role::Agent => self.next_stream,
        };
        let mut said = BTreeMap::new();
        for (id, stream) in self.streams.range_mut(..StreamId(next_stream)) {
            let told = stream.inbound.tell();
            let (received, limit, finished) = (told.received, told.limit, told.finished);
            said.insert(*id, ResumedState::Open { received, limit, finished });
        }
        for (id, reset) in &mut self.resets {
            reset.sent = true;
            said.insert(*id, ResumedState::Reset(reset.code));
        }
        self.resume_step(true, heard);
        if heard {
            self.forget_all_that_is_over();
        }
        let streams = said.into_iter().map(|(stream, state)| Resumed { stream, state }).collect();
        Frame::Resume { next_stream, streams }
    }

    /// The peer's RESUME, its first frame on the new transport.
    pub(super) fn peer_resumes(
        &mut self,
        said: bool,
        next_stream: u32,
        streams: &[Resumed],
    ) -> Result<(), Violation> {
        self.check_next_stream(next_stream, streams)?;
        let listed: BTreeMap<StreamId, ResumedState> = streams.iter().map(|r| (r.stream, r.state)).collect();
        // What the peer does not list, it has forgotten; what it never saw is not reset there.
        self.resets.retain(|id, reset| {
            reset.sent &= said;
            matches!(listed.get(id), Some(ResumedState::Open { .. }))
        });
        let ours: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ours {
            self.resume_stream(id, next_stream, listed.get(&id))?;
        }
        for resumed in streams {
            self.answer_reset(resumed);
        }
        self.resume_step(said, true);
        Ok(())
    }

    fn check_next_stream(&mut self, next_stream: u32, streams: &[Resumed]) -> Result<(), Violation> {
        let listed_beyond = streams.last().is_some_and(|last| last.stream.0 >= next_stream);
        match self.role {
            _ if listed_beyond => Err(Violation::of("RESUME of a stream that it never saw opened")),
            Role::Broker if next_stream == 0 || next_stream > self.ever_opened => {
                Err(Violation::of("RESUME that saw a stream which was not opened"))
            }
            Role::Broker => {
                self.opened = next_stream; // OPENs from here on were lost
                Ok(())
            }
            Role::Agent if next_stream < self.next_stream => {
                Err(Violation::of("RESUME that takes back streams which were opened"))
            }
            Role::Agent => Ok(()),
        }
    }

    fn resume_stream(
        &mut self,
        id: StreamId,
        peer_next: u32,
        listed: Option<&ResumedState>,
    ) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        match listed {
            Some(ResumedState::Open { received, limit, finished }) => {
                stream.outbound.credit(*received, *limit, *finished)?;
                stream.outbound.rewind();
                if stream.outbound.takes_writable() {
                    self.outputs.push_back(Output::Writable(id));
                }
            }
            Some(ResumedState::Reset(_)) => return Ok(()),
            None if self.role == Role::Broker && id.0 >= peer_next => stream.outbound.rewind(),
            None => {
                if !stream.outbound.peer_has_all() || !stream.inbound.peer_knows_all() {
                    return Err(Violation::of("RESUME that forgot a stream which was not finished"));
                }
            }
        }
        self.take_turn(id);
        self.forget_if_over(id);
        Ok(())
    }

    fn answer_reset(&mut self, resumed: &Resumed) {
        let ResumedState::Reset(code) = resumed.state else {
            return;
        };
        if self.role == Role::Agent && resumed.stream.0 >= self.next_stream {
            return; // its OPEN was lost: there is nothing to forget
        }
        self.reset_oks.insert(resumed.stream);
        if self.forget(resumed.stream) {
            self.outputs.push_back(Output::Reset { stream: resumed.stream, code });
        }
    }

    /// What was only waiting for the peer to be told of its FIN.
    fn forget_all_that_is_over(&mut self) {
        let ours: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ours {
            self.forget_if_over(id);
        }
    }

    fn resume_step(&mut self, said: bool, heard: bool) {
        self.phase = if said && heard { Phase::Steady } else { Phase::Resuming { said, heard } };
    }
}
