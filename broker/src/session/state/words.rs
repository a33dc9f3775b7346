//! Times and steps, as people say them.

use std::time::Duration;

use moorline_wire::Code;
use moorline_wire::term::frame::Step;

/// Why a set-up came to nothing.
pub(super) fn too_slow(step: Step) -> String {
    let what = match step {
        Step::Broker => "the broker",
        Step::Device => "the device's sshd to answer",
        Step::HostKey => "the exchange of keys with the device",
        Step::Login => "the device's sshd to check the login",
        Step::Shell => "the device to start a shell",
    };
    format!("Waiting for {what} took too long. {}", Code::SETUP_TIMEOUT.remedy())
}

/// A time as people say it.
pub(super) fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        0..120 if seconds == 60 => (1, "minute"),
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        _ => (seconds / 3600, "hour"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        let words =
            [(1, "1 second"), (60, "1 minute"), (90, "90 seconds"), (120, "2 minutes"), (86_400, "24 hours")];
        for (seconds, expected) in words {
            assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        }
    }
}
