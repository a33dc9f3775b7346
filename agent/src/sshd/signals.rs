//! Signals by their names in SSH (RFC 4254 section 6.10) and their numbers here.

use nix::sys::signal::Signal;
use russh::Sig;

/// The names of the RFC that russh knows; others travel as text.
const NAMES: &[(Sig, Signal)] = &[
    (Sig::ABRT, Signal::SIGABRT),
    (Sig::ALRM, Signal::SIGALRM),
    (Sig::FPE, Signal::SIGFPE),
    (Sig::HUP, Signal::SIGHUP),
    (Sig::ILL, Signal::SIGILL),
    (Sig::INT, Signal::SIGINT),
    (Sig::KILL, Signal::SIGKILL),
    (Sig::PIPE, Signal::SIGPIPE),
    (Sig::QUIT, Signal::SIGQUIT),
    (Sig::SEGV, Signal::SIGSEGV),
    (Sig::TERM, Signal::SIGTERM),
    (Sig::USR1, Signal::SIGUSR1),
];

/// The signal that a client means.
pub fn from_ssh(name: &Sig) -> Option<Signal> {
    match name {
        Sig::Custom(name) => format!("SIG{}", name.split('@').next().unwrap_or(name)).parse().ok(),
        name => NAMES.iter().find(|(known, _)| same(known, name)).map(|(_, signal)| *signal),
    }
}

/// Of two names that are not text. (russh's type cannot be compared.)
fn same(one: &Sig, other: &Sig) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// How a signal that ended a program is called.
pub fn to_ssh(number: i32) -> Sig {
    let signal = Signal::try_from(number).ok();
    let named = NAMES.iter().find(|(_, known)| Some(*known) == signal).map(|(name, _)| name.clone());
    named.unwrap_or_else(|| match signal {
        Some(signal) => Sig::Custom(signal.as_str().trim_start_matches("SIG").to_owned()),
        None => Sig::Custom(format!("{number}@moorline")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_keep_their_names() {
        for signal in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGKILL, Signal::SIGBUS] {
            assert_eq!(from_ssh(&to_ssh(signal as i32)), Some(signal));
        }
        assert_eq!(from_ssh(&Sig::Custom("INFO@openssh.com".into())), None);
        assert!(matches!(to_ssh(64), Sig::Custom(name) if name == "64@moorline"));
    }
}
