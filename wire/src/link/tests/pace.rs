//! The pace, by itself.

use std::time::{Duration, Instant};

use crate::link::schedule::Pace;

const MS: Duration = Duration::from_millis(1);

/// Fills the cap, and lets a probe take so long.
fn round(pace: &mut Pace, now: Instant, nonce: u64, took: Duration) -> u64 {
    while pace.may_send() {
        pace.sent(1024);
    }
    assert!(pace.wants_probe(now));
    pace.probed(nonce);
    assert!(!pace.wants_probe(now), "one at a time");
    pace.round_trip(now + took, nonce, took);
    pace.cap()
}

#[test]
fn the_cap_grows_on_an_empty_line_and_shrinks_when_our_bytes_queue() {
    let (mut pace, start) = (Pace::new(2 << 20), Instant::now());
    pace.round_trip(start, 1, 40 * MS);
    let first = pace.cap();
    let second = round(&mut pace, start, 2, 40 * MS);
    assert!(second > first * 5 / 4, "{first} {second}");
    for nonce in 3..7 {
        round(&mut pace, start + 100 * MS * nonce as u32, nonce, 40 * MS);
    }
    let most = pace.cap();
    let less = round(&mut pace, start + 1000 * MS, 7, 110 * MS);
    assert!(less <= most * 55 / 100, "{most} {less}");
    for nonce in 8..20 {
        round(&mut pace, start + 2500 * MS * nonce as u32, nonce, 1000 * MS);
    }
    assert_eq!(pace.cap(), 64 * 1024, "never less");
}

#[test]
fn whoever_is_held_back_again_wakes_the_driver_for_the_next_probe() {
    let (mut pace, start) = (Pace::new(2 << 20), Instant::now());
    round(&mut pace, start, 1, 5 * MS);
    while pace.may_send() {
        pace.sent(1024);
    }
    let now = start + 5 * MS;
    assert!(!pace.wants_probe(now), "too early");
    assert_eq!(pace.deadline(), Some(now + 20 * MS));
    pace.tick(now + 20 * MS);
    assert_eq!(pace.deadline(), None, "a transport without room does not wake it again and again");
    assert!(pace.wants_probe(now + 20 * MS));
}

#[test]
fn what_was_not_held_back_says_nothing_of_the_line() {
    let (mut pace, start) = (Pace::new(2 << 20), Instant::now());
    pace.sent(1000);
    assert!(pace.may_send() && !pace.wants_probe(start));
    pace.round_trip(start, 1, 500 * MS);
    assert_eq!(pace.cap(), 64 * 1024);
    assert_eq!(pace.deadline(), None);
}

#[test]
fn every_minute_the_lowest_round_trip_is_looked_for_anew() {
    let (mut pace, start) = (Pace::new(2 << 20), Instant::now());
    for nonce in 1..10 {
        round(&mut pace, start + 100 * MS * nonce as u32, nonce, 10 * MS);
    }
    assert!(pace.cap() > 256 * 1024);
    pace.round_trip(start + 61_000 * MS, 99, 10 * MS);
    assert_eq!(pace.cap(), 64 * 1024);
}
