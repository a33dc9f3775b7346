//! Typing: one key after the other, each when the one before came back.

use std::time::Duration;

use anyhow::Result;

use crate::pause::pause;
use crate::samples::{Taken, quantiles};
use crate::shell::Shell;

/// Keys before those that count.
const FIRST: usize = 10;

/// Types so many keys to a program that sends them back. Every other key comes after a pause of 2 to 9 ms, in
/// which everything on the way goes to sleep; the ones between come at once.
pub fn typed(shell: &mut Shell, keys: usize, name: &str) -> Result<Taken> {
    let (mut all, mut idle, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for key in 0..FIRST + keys {
        let after_pause = key % 2 == 0;
        if after_pause {
            pause(Duration::from_millis(2 + (key as u64 * 7) % 8));
        }
        let took = shell.echo(b'a' + (key % 26) as u8)?.as_secs_f64() * 1e3;
        if key >= FIRST {
            all.push(took);
            if after_pause { &mut idle } else { &mut busy }.push(took);
        }
    }
    let mut taken = quantiles(&format!("{name}_ms"), &all);
    taken.extend(quantiles(&format!("{name}_idle_ms"), &idle));
    taken.extend(quantiles(&format!("{name}_busy_ms"), &busy));
    Ok(taken)
}
