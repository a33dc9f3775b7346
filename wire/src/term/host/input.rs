//! What each viewer has typed: how far it was accepted, and how far the program's side took it.
//! It is remembered under the viewer's key, so that it survives the viewer's connections.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Where one viewer key stands.
#[derive(Debug)]
struct Typist {
    key: Arc<str>,
    /// Input below this came in; the next byte that counts has this offset.
    accepted: u64,
    /// Input below this is with the program.
    taken: u64,
    /// Input below this was acknowledged: the viewer counts its credit from here.
    told: u64,
    attached: bool,
}

/// Input on its way to the program: when `end` bytes in all are taken, `key` has come to `offset`.
#[derive(Debug)]
struct OnItsWay {
    end: u64,
    key: Arc<str>,
    offset: u64,
    /// Whether the program gets it, or it was dropped unread.
    wanted: bool,
}

/// Why input is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not follow what came before, or is more than the viewer has credit for.
    OutOfPlace,
    /// Too much waits for the program already.
    TooMuch,
}

#[derive(Debug)]
pub(super) struct Input {
    typists: VecDeque<Typist>,
    remembered_max: usize,
    window: u64,
    on_its_way: VecDeque<OnItsWay>,
    given: u64,
    taken: u64,
}

/// Several drivers one after the other, or one that reloads its page, may each fill a window of
/// their own while the program reads nothing; more than this many windows are not kept.
const WINDOWS_MAX: u64 = 4;

impl Input {
    pub(super) fn new(remembered_max: usize, window: u64) -> Self {
        Self {
            typists: VecDeque::new(),
            remembered_max,
            window,
            on_its_way: VecDeque::new(),
            given: 0,
            taken: 0,
        }
    }

    /// A connection of this key came, and says that its next byte has the offset `next`. Gives the
    /// offset to send from.
    ///
    /// A viewer that is behind what was accepted has lost its memory (a reload): there is nothing
    /// that it could send again, and what it types now is new.
    /// One that nobody remembers starts where it says: input that was lost can be typed again, a
    /// command that ran twice cannot be undone.
    pub(super) fn attached(&mut self, key: &Arc<str>, next: u64) -> u64 {
        let mut typist = match self.typists.iter().position(|typist| typist.key == *key) {
            Some(at) => self.typists.remove(at).expect("it was just found"),
            None => Typist { key: key.clone(), accepted: next, taken: next, told: next, attached: true },
        };
        typist.attached = true;
        // What was acknowledged once is not asked for again.
        typist.told = if next < typist.accepted { typist.accepted } else { typist.told.max(typist.taken) };
        let told = typist.told;
        self.typists.push_back(typist);
        self.forget_surplus();
        told
    }

    pub(super) fn left(&mut self, key: &str) {
        if let Some(typist) = self.typist(key) {
            typist.attached = false;
        }
        self.forget_surplus();
    }

    /// Gives the part of the bytes that is new; nothing when all of them came before.
    pub(super) fn accept(&mut self, key: &Arc<str>, offset: u64, bytes: Bytes) -> Result<Bytes, Refused> {
        let bytes = self.new_part(key, offset, bytes)?;
        if self.given + bytes.len() as u64 - self.taken > WINDOWS_MAX * self.window {
            return Err(Refused::TooMuch);
        }
        self.given += bytes.len() as u64;
        self.note(key, bytes.len() as u64, true);
        Ok(bytes)
    }

    /// Counts the bytes as taken, after what the same viewer typed before, but gives them to nobody.
    pub(super) fn drop_unread(&mut self, key: &Arc<str>, offset: u64, bytes: Bytes) -> Result<(), Refused> {
        let bytes = self.new_part(key, offset, bytes)?;
        self.note(key, bytes.len() as u64, false);
        Ok(())
    }

    fn new_part(&mut self, key: &str, offset: u64, mut bytes: Bytes) -> Result<Bytes, Refused> {
        let window = self.window;
        let typist = self.typist(key).ok_or(Refused::OutOfPlace)?;
        if offset > typist.accepted {
            return Err(Refused::OutOfPlace);
        }
        let known = (typist.accepted - offset).min(bytes.len() as u64);
        bytes.advance(known as usize);
        if typist.accepted + bytes.len() as u64 > typist.told.max(typist.taken) + window {
            return Err(Refused::OutOfPlace);
        }
        Ok(bytes)
    }

    fn note(&mut self, key: &Arc<str>, length: u64, wanted: bool) {
        let end = self.given;
        let Some(typist) = self.typist(key) else { return };
        typist.accepted += length;
        let offset = typist.accepted;
        match self.on_its_way.back_mut() {
            // One entry for what a viewer typed in one go: the list grows with the viewers who
            // take turns, not with the keys that they press.
            Some(last) if last.key == *key && last.wanted == wanted && last.offset + length == offset => {
                last.offset = offset;
                last.end = end;
            }
            _ => self.on_its_way.push_back(OnItsWay { end, key: key.clone(), offset, wanted }),
        }
    }

    /// The program's side took `total` bytes in all. Gives the keys that came further.
    pub(super) fn taken(&mut self, total: u64) -> Vec<Arc<str>> {
        self.taken = total.clamp(self.taken, self.given);
        let mut further = Vec::new();
        while let Some(first) = self.on_its_way.front() {
            let missing = first.end.saturating_sub(self.taken);
            if missing > 0 && !first.wanted {
                break;
            }
            let (key, offset) = (first.key.clone(), first.offset.saturating_sub(missing));
            if missing == 0 {
                self.on_its_way.pop_front();
            }
            if let Some(typist) = self.typist(&key)
                && offset > typist.taken
            {
                typist.taken = offset;
                further.push(key);
            }
            if missing > 0 {
                break;
            }
        }
        further
    }

    /// As `taken`, when nothing more was taken: what was dropped unread may have come up.
    pub(super) fn settle(&mut self) -> Vec<Arc<str>> {
        self.taken(self.taken)
    }

    /// The offset for the next IN_ACK of this key.
    pub(super) fn acknowledge(&mut self, key: &str) -> Option<u64> {
        let typist = self.typist(key)?;
        typist.told = typist.told.max(typist.taken);
        Some(typist.told)
    }

    /// How much the program has taken from that key that was not acknowledged.
    pub(super) fn untold(&self, key: &str) -> u64 {
        let typist = self.typists.iter().find(|typist| *typist.key == *key);
        typist.map_or(0, |typist| typist.taken.saturating_sub(typist.told))
    }

    fn typist(&mut self, key: &str) -> Option<&mut Typist> {
        self.typists.iter_mut().find(|typist| *typist.key == *key)
    }

    /// Who left longest ago is forgotten first; who is attached is not.
    fn forget_surplus(&mut self) {
        let away = self.typists.iter().filter(|typist| !typist.attached).count();
        for _ in self.remembered_max..away {
            if let Some(at) = self.typists.iter().position(|typist| !typist.attached) {
                self.typists.remove(at);
            }
        }
    }
}
