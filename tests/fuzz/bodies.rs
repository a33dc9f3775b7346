//! What every parser of `wire` must hold for any bytes: it gives a value or a refusal, it does not panic, and what it
//! gave says the same when it is written and read again.
//!
//! The same functions are run by cargo-fuzz (`make fuzz`) and, with mutated seeds, by `wire/tests/parsers.rs`.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use moorline_wire::keep::{Decoder, FromKeeper, PREAMBLE, ToKeeper};
use moorline_wire::link::frame::Frame;
use moorline_wire::link::{Attach, Config, Input, Link, Role, greeting};
use moorline_wire::term::{HostFrame, Message, ViewerFrame};
use moorline_wire::{Code, DeviceId, SessionId, install_key};

/// Takes any bytes; panics when something does not hold.
pub type Body = fn(&[u8]);

/// Every body, by its name.
pub const ALL: [(&str, Body); 8] = [
    ("link_frame", link_frame),
    ("link_greeting", link_greeting),
    ("link_machine", link_machine),
    ("term_viewer", term_viewer),
    ("term_host", term_host),
    ("keep_stream", keep_stream),
    ("keep_pieces", keep_pieces),
    ("words", words),
];

/// A frame of a link.
pub fn link_frame(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(Frame::decode(frame.encode()).as_ref(), Ok(&frame));
}

/// A message of a link's greeting.
pub fn link_greeting(bytes: &[u8]) {
    use greeting::Message;
    let Ok(message) = Message::decode(bytes) else { return };
    // Escapes may be longer when they are written again.
    if message.encode().len() <= 16 * 1024 {
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
    }
    if let Message::Challenge(challenge) = &message {
        let _ = challenge.common_version();
    }
}

/// A whole link, at either end, whose peer sends these frames: each with its length before it.
pub fn link_machine(mut bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    bytes = rest;
    let role = if first & 1 == 0 { Role::Agent } else { Role::Broker };
    let attach = if first & 2 == 0 { Attach::Fresh } else { Attach::Resumed };
    let mut now = Instant::now();
    let mut link = Link::new(role, Config::default(), now);
    let mut handled = link.handle(now, Input::Connected(attach));
    while handled.is_ok() && bytes.len() >= 2 {
        let length = usize::from(bytes.get_u16()).min(bytes.len());
        let (frame, rest) = bytes.split_at(length);
        bytes = rest;
        now += Duration::from_millis(100);
        handled = link.handle(now, Input::Frame(Bytes::copy_from_slice(frame)));
        while link.poll_output().is_some() {}
        if link.poll_timeout().is_some_and(|at| at <= now) {
            link.handle_timeout(now);
        }
    }
}

/// Text or binary, by the first byte.
fn message(bytes: &[u8]) -> Option<Message> {
    let (first, rest) = bytes.split_first()?;
    if first & 1 == 0 {
        return Some(Message::Binary(Bytes::copy_from_slice(rest)));
    }
    String::from_utf8(rest.to_vec()).ok().map(Message::Text)
}

/// A message of a viewer.
pub fn term_viewer(bytes: &[u8]) {
    let Some(Ok(Some(frame))) = message(bytes).map(ViewerFrame::decode) else { return };
    if let Ok(Some(again)) = ViewerFrame::decode(frame.encode()) {
        assert_eq!(again, frame);
    }
}

/// A message of a host.
pub fn term_host(bytes: &[u8]) {
    let Some(Ok(Some(frame))) = message(bytes).map(HostFrame::decode) else { return };
    if let Ok(Some(again)) = HostFrame::decode(frame.encode()) {
        assert_eq!(again, frame);
    }
}

/// What a decoder of either end gives for these pieces: the messages, and whether it refused.
fn decoded<'a>(mut decoder: Decoder, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, bool) {
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(raw)) => {
                    let (to, from) = (ToKeeper::decode(raw.clone()), FromKeeper::decode(raw));
                    messages.push(format!("{to:?} {from:?}"));
                }
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// The stream between a broker and a keeper.
pub fn keep_stream(bytes: &[u8]) {
    decoded(Decoder::plain(), std::iter::once(bytes));
    decoded(Decoder::after_preamble(), [PREAMBLE, bytes].into_iter());
    decoded(Decoder::after_preamble(), std::iter::once(bytes));
}

/// How a stream is cut into pieces changes nothing.
pub fn keep_pieces(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let size = usize::from(*size).max(1);
    let whole = decoded(Decoder::plain(), std::iter::once(bytes));
    assert_eq!(decoded(Decoder::plain(), bytes.chunks(size)), whole);
}

/// Ids, codes and install keys.
pub fn words(bytes: &[u8]) {
    if let Some((number, _)) = bytes.split_first_chunk::<2>() {
        // One that this version does not know is kept as it is, and has no name of its own.
        let number = u16::from_be_bytes(*number);
        let code = Code::from_number(number);
        assert_eq!(code.number(), number);
        assert_eq!(Code::named(code.name()).is_some_and(|named| named == code), Code::ALL.contains(&code));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<DeviceId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Some((id, secret)) = install_key::parts(text) {
        assert_eq!(install_key::text(&id, secret), text);
    }
    if let Some(code) = Code::named(text) {
        assert_eq!(code.name(), text);
    }
}
