//! What is decided about devices: pure, without actors, sockets and clock.
//!
//! - [`Connection`]: one device's link, whose transport comes and goes
//! - [`Roster`]: which connection is a device's newest, and who may go on with it

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use moorline_wire::{Code, DeviceId};

use crate::token::Hashed;

/// How a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Its link works.
    Online,
    /// Nothing was heard for some time.
    Unstable,
    /// The transport is gone; the link is kept for its return.
    Away,
    /// There is no link.
    Offline,
}

impl Presence {
    /// The presence as a metric label and in the API.
    pub fn label(self) -> &'static str {
        match self {
            Presence::Online => "online",
            Presence::Unstable => "unstable",
            Presence::Away => "away",
            Presence::Offline => "offline",
        }
    }
}

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A socket was greeted; it carries the link from now on.
    Attached {
        /// Its number: what an older socket still says does not count.
        epoch: u64,
    },
    /// That socket is gone.
    SocketGone {
        /// Which one.
        epoch: u64,
    },
    /// Nothing was heard for some time.
    Unstable,
    /// Heard again.
    Steady,
    /// The link wants its socket closed.
    Close(Code),
    /// The device did not come back in time.
    Lost,
    /// A newer connection of the same device took over.
    Evicted,
    /// The device was forgotten.
    Forgotten,
    /// The device was revoked.
    Revoked,
    /// The broker is going away; the device may come back after that long.
    GoAway(Duration),
    /// The farewell was sent.
    SaidGoodbye,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell everybody how the device is.
    Publish(Presence),
    /// Close the socket, with this reason, and tell the link.
    CloseSocket(Code),
    /// Tell the link that its socket is gone.
    TellDisconnected,
    /// Tell the agent when to come back.
    TellGoAway(Duration),
    /// It is over; the streams end with it.
    Stop,
}

/// One device's link. It outlives its sockets.
#[derive(Debug, Default)]
pub struct Connection {
    /// The socket that carries the link, if any.
    socket: Option<u64>,
    published: Option<Presence>,
    over: bool,
    outputs: VecDeque<Output>,
}

impl Connection {
    /// Decides.
    pub fn handle(&mut self, input: Input) {
        if self.over {
            return;
        }
        match input {
            Input::Attached { epoch } => self.attached(epoch),
            Input::SocketGone { epoch } if self.socket == Some(epoch) => {
                self.socket = None;
                self.outputs.push_back(Output::TellDisconnected);
                self.publish(Presence::Away);
            }
            Input::SocketGone { .. } => {}
            Input::Unstable if self.socket.is_some() => self.publish(Presence::Unstable),
            Input::Steady if self.socket.is_some() => self.publish(Presence::Online),
            Input::Unstable | Input::Steady => {}
            Input::Close(code) => self.close(code, Presence::Away),
            Input::Lost => self.end(Code::DEVICE_LOST),
            Input::Evicted => self.end(Code::EVICTED),
            Input::Forgotten => self.end(Code::NOT_ENROLLED),
            Input::Revoked => self.end(Code::DEVICE_REVOKED),
            Input::GoAway(after) => self.outputs.push_back(Output::TellGoAway(after)),
            Input::SaidGoodbye => self.close(Code::GOING_AWAY, Presence::Away),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether a socket carries the link.
    pub fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    fn attached(&mut self, epoch: u64) {
        // A socket that hangs is replaced before we have noticed that it hangs.
        self.close(Code::EVICTED, Presence::Away);
        self.socket = Some(epoch);
        self.publish(Presence::Online);
    }

    fn close(&mut self, code: Code, then: Presence) {
        if self.socket.take().is_some() {
            self.outputs.push_back(Output::CloseSocket(code));
            self.publish(then);
        }
    }

    fn end(&mut self, code: Code) {
        self.close(code, Presence::Offline);
        self.publish(Presence::Offline);
        self.outputs.push_back(Output::Stop);
        self.over = true;
    }

    fn publish(&mut self, presence: Presence) {
        if self.published != Some(presence) {
            self.published = Some(presence);
            self.outputs.push_back(Output::Publish(presence));
        }
    }
}

/// The newest connection of each device.
#[derive(Debug, Default)]
pub struct Roster {
    newest: HashMap<DeviceId, Known>,
    last_epoch: u64,
}

#[derive(Debug)]
struct Known {
    /// The epoch of the greeting that began this link.
    born: u64,
    /// What the agent must show to go on with it: the newest token, or the one that it showed last,
    /// because the welcome with the newest may have been lost on its way.
    resume: Hashed,
    before: Option<Hashed>,
}

/// What becomes of a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The link of the token goes on.
    Resume {
        /// The number of the new socket.
        epoch: u64,
        /// Which link.
        born: u64,
    },
    /// A new link begins.
    Fresh {
        /// The number of the new socket, and of the link.
        epoch: u64,
        /// The link that it takes the place of.
        evict: Option<u64>,
    },
}

impl Roster {
    /// `floor`: larger than any epoch that an earlier process gave out.
    pub fn new(floor: u64) -> Self {
        Self { newest: HashMap::new(), last_epoch: floor }
    }

    /// A device has proved who it is. `shown` is the resume token it came with, `next` the one
    /// that it gets. A token works until its successor is shown.
    pub fn admit(&mut self, device: &DeviceId, shown: Option<Hashed>, next: Hashed) -> Admission {
        self.last_epoch += 1;
        let epoch = self.last_epoch;
        match self.newest.get_mut(device) {
            Some(known) if shown.is_some() && (shown == Some(known.resume) || shown == known.before) => {
                (known.before, known.resume) = (shown, next);
                Admission::Resume { epoch, born: known.born }
            }
            known => {
                let evict = known.map(|known| known.born);
                self.newest.insert(device.clone(), Known { born: epoch, resume: next, before: None });
                Admission::Fresh { epoch, evict }
            }
        }
    }

    /// That link is over. `true`: it was the device's newest.
    pub fn ended(&mut self, device: &DeviceId, born: u64) -> bool {
        let newest = self.newest.get(device).is_some_and(|known| known.born == born);
        if newest {
            self.newest.remove(device);
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(connection: &mut Connection) -> Vec<Output> {
        std::iter::from_fn(|| connection.poll_output()).collect()
    }

    fn after(inputs: &[Input]) -> Vec<Output> {
        let mut connection = Connection::default();
        for input in &inputs[..inputs.len() - 1] {
            connection.handle(*input);
        }
        outputs(&mut connection);
        connection.handle(inputs[inputs.len() - 1]);
        outputs(&mut connection)
    }

    const ONE: Input = Input::Attached { epoch: 1 };

    #[test]
    fn a_socket_that_is_gone_leaves_the_device_away_and_not_over() {
        let gone = after(&[ONE, Input::SocketGone { epoch: 1 }]);
        assert_eq!(gone, [Output::TellDisconnected, Output::Publish(Presence::Away)]);
        let back = after(&[ONE, Input::SocketGone { epoch: 1 }, Input::Attached { epoch: 2 }]);
        assert_eq!(back, [Output::Publish(Presence::Online)]);
    }

    #[test]
    fn the_end_of_an_older_socket_does_not_touch_the_newer_one() {
        assert_eq!(after(&[ONE, Input::Attached { epoch: 2 }, Input::SocketGone { epoch: 1 }]), []);
    }

    #[test]
    fn a_newer_socket_takes_the_place_of_one_that_still_stands() {
        let replaced = after(&[ONE, Input::Attached { epoch: 2 }]);
        let expected = [
            Output::CloseSocket(Code::EVICTED),
            Output::Publish(Presence::Away),
            Output::Publish(Presence::Online),
        ];
        assert_eq!(replaced, expected);
    }

    #[test]
    fn a_lost_device_is_offline_once_and_nothing_follows() {
        let lost = after(&[ONE, Input::SocketGone { epoch: 1 }, Input::Lost]);
        assert_eq!(lost, [Output::Publish(Presence::Offline), Output::Stop]);
        assert_eq!(after(&[ONE, Input::Lost, Input::Attached { epoch: 2 }]), []);
    }

    #[test]
    fn a_device_that_was_forgotten_or_revoked_is_told_which() {
        for (input, code) in [(Input::Forgotten, Code::NOT_ENROLLED), (Input::Revoked, Code::DEVICE_REVOKED)]
        {
            let told = after(&[ONE, input]);
            assert_eq!(told[0], Output::CloseSocket(code));
            assert_eq!(told[told.len() - 1], Output::Stop);
        }
    }

    #[test]
    fn silence_and_its_end_are_published_once_each() {
        assert_eq!(after(&[ONE, Input::Unstable]), [Output::Publish(Presence::Unstable)]);
        assert_eq!(after(&[ONE, Input::Unstable, Input::Unstable]), []);
        assert_eq!(after(&[ONE, Input::Unstable, Input::Steady]), [Output::Publish(Presence::Online)]);
    }

    fn device() -> DeviceId {
        "d-abcdefghijklmnop".parse().unwrap()
    }

    #[test]
    fn a_resume_token_works_until_its_successor_is_shown() {
        let [first, second, third, fourth, fifth] = ["1", "2", "3", "4", "5"].map(Hashed::of);
        let mut roster = Roster::new(100);
        assert_eq!(roster.admit(&device(), None, first), Admission::Fresh { epoch: 101, evict: None });
        let resumed = roster.admit(&device(), Some(first), second);
        assert_eq!(resumed, Admission::Resume { epoch: 102, born: 101 });
        // The welcome with the second token was lost on its way.
        let again = roster.admit(&device(), Some(first), third);
        assert_eq!(again, Admission::Resume { epoch: 103, born: 101 });
        let resumed = roster.admit(&device(), Some(third), fourth);
        assert_eq!(resumed, Admission::Resume { epoch: 104, born: 101 });
        let replayed = roster.admit(&device(), Some(first), fifth);
        assert_eq!(replayed, Admission::Fresh { epoch: 105, evict: Some(101) });
    }

    #[test]
    fn the_end_of_an_evicted_link_does_not_forget_the_newer_one() {
        let mut roster = Roster::new(0);
        roster.admit(&device(), None, Hashed::of("1"));
        roster.admit(&device(), None, Hashed::of("2"));
        assert!(!roster.ended(&device(), 1));
        assert!(roster.ended(&device(), 2));
        assert_eq!(
            roster.admit(&device(), Some(Hashed::of("2")), Hashed::of("3")),
            Admission::Fresh { epoch: 3, evict: None }
        );
    }
}
