//! What a terminal shows, kept so that it can be shown again: `avt` for screen, scrollback and
//! most modes, and a small tracker for the modes that avt does not know.
//! (This file is the fixed public face; the helper who owns wire::term fills it in.)

/// A terminal that nobody looks at, fed with everything the program writes.
#[derive(Debug)]
pub struct Screen {
    _p: (),
}

impl Screen {
    pub fn new(_cols: u16, _rows: u16) -> Self {
        unimplemented!()
    }
    pub fn feed(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }
    pub fn resize(&mut self, _cols: u16, _rows: u16) {
        unimplemented!()
    }
    /// Escape sequences that rebuild both buffers, cursor, title and all modes on a terminal that was just reset.
    pub fn snapshot(&self) -> Vec<u8> {
        unimplemented!()
    }
    pub fn size(&self) -> (u16, u16) {
        unimplemented!()
    }
}
