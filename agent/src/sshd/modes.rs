//! The terminal modes that a client asks for (RFC 4254 section 8, RFC 8160), applied where Linux has
//! them; the others are passed over, as the RFC wants.

use std::io;
use std::os::fd::AsFd;

use russh::Pty as Mode;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex as Special, Termios,
    tcgetattr, tcsetattr,
};

/// The value that stands for "no such character" in the protocol.
const DISABLED_BY_PEER: u32 = 255;
/// The same on Linux (`_POSIX_VDISABLE`).
const DISABLED: u8 = 0;

/// Sets them on the terminal.
pub fn apply(terminal: impl AsFd, modes: &[(Mode, u32)]) -> io::Result<()> {
    let mut termios = tcgetattr(&terminal)?;
    for (mode, value) in modes {
        set(&mut termios, *mode, *value);
    }
    Ok(tcsetattr(&terminal, OptionalActions::Now, &termios)?)
}

fn set(termios: &mut Termios, mode: Mode, value: u32) {
    if let Some(special) = special(mode) {
        let character = u8::try_from(value).unwrap_or(DISABLED);
        termios.special_codes[special] = if value == DISABLED_BY_PEER { DISABLED } else { character };
    } else if let Some(flag) = input(mode) {
        termios.input_modes.set(flag, value != 0);
    } else if let Some(flag) = local(mode) {
        termios.local_modes.set(flag, value != 0);
    } else if let Some(flag) = output(mode) {
        termios.output_modes.set(flag, value != 0);
    } else {
        set_control(termios, mode, value);
    }
}

fn set_control(termios: &mut Termios, mode: Mode, value: u32) {
    match mode {
        Mode::CS7 | Mode::CS8 if value != 0 => {
            termios.control_modes.remove(ControlModes::CSIZE);
            termios.control_modes.insert(if mode == Mode::CS7 {
                ControlModes::CS7
            } else {
                ControlModes::CS8
            });
        }
        Mode::PARENB => termios.control_modes.set(ControlModes::PARENB, value != 0),
        Mode::PARODD => termios.control_modes.set(ControlModes::PARODD, value != 0),
        // A speed that Linux does not know is passed over; it means nothing on a pseudo-terminal.
        Mode::TTY_OP_ISPEED => drop(termios.set_input_speed(value)),
        Mode::TTY_OP_OSPEED => drop(termios.set_output_speed(value)),
        _ => {}
    }
}

fn special(mode: Mode) -> Option<Special> {
    Some(match mode {
        Mode::VINTR => Special::VINTR,
        Mode::VQUIT => Special::VQUIT,
        Mode::VERASE => Special::VERASE,
        Mode::VKILL => Special::VKILL,
        Mode::VEOF => Special::VEOF,
        Mode::VEOL => Special::VEOL,
        Mode::VEOL2 => Special::VEOL2,
        Mode::VSTART => Special::VSTART,
        Mode::VSTOP => Special::VSTOP,
        Mode::VSUSP => Special::VSUSP,
        Mode::VREPRINT => Special::VREPRINT,
        Mode::VWERASE => Special::VWERASE,
        Mode::VLNEXT => Special::VLNEXT,
        Mode::VDISCARD => Special::VDISCARD,
        _ => return None,
    })
}

fn input(mode: Mode) -> Option<InputModes> {
    Some(match mode {
        Mode::IGNPAR => InputModes::IGNPAR,
        Mode::PARMRK => InputModes::PARMRK,
        Mode::INPCK => InputModes::INPCK,
        Mode::ISTRIP => InputModes::ISTRIP,
        Mode::INLCR => InputModes::INLCR,
        Mode::IGNCR => InputModes::IGNCR,
        Mode::ICRNL => InputModes::ICRNL,
        Mode::IUCLC => InputModes::IUCLC,
        Mode::IXON => InputModes::IXON,
        Mode::IXANY => InputModes::IXANY,
        Mode::IXOFF => InputModes::IXOFF,
        Mode::IMAXBEL => InputModes::IMAXBEL,
        Mode::IUTF8 => InputModes::IUTF8,
        _ => return None,
    })
}

fn local(mode: Mode) -> Option<LocalModes> {
    Some(match mode {
        Mode::ISIG => LocalModes::ISIG,
        Mode::ICANON => LocalModes::ICANON,
        Mode::XCASE => LocalModes::XCASE,
        Mode::ECHO => LocalModes::ECHO,
        Mode::ECHOE => LocalModes::ECHOE,
        Mode::ECHOK => LocalModes::ECHOK,
        Mode::ECHONL => LocalModes::ECHONL,
        Mode::NOFLSH => LocalModes::NOFLSH,
        Mode::TOSTOP => LocalModes::TOSTOP,
        Mode::IEXTEN => LocalModes::IEXTEN,
        Mode::ECHOCTL => LocalModes::ECHOCTL,
        Mode::ECHOKE => LocalModes::ECHOKE,
        Mode::PENDIN => LocalModes::PENDIN,
        _ => return None,
    })
}

fn output(mode: Mode) -> Option<OutputModes> {
    Some(match mode {
        Mode::OPOST => OutputModes::OPOST,
        Mode::OLCUC => OutputModes::OLCUC,
        Mode::ONLCR => OutputModes::ONLCR,
        Mode::OCRNL => OutputModes::OCRNL,
        Mode::ONOCR => OutputModes::ONOCR,
        Mode::ONLRET => OutputModes::ONLRET,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn modes_are_set_and_unknown_ones_passed_over() {
        let (_ours, theirs) = super::super::pty::open().unwrap();
        let modes = [
            (Mode::ECHO, 0),
            (Mode::IUTF8, 1),
            (Mode::ONLCR, 0),
            (Mode::VINTR, 7),
            (Mode::VSUSP, 255),
            (Mode::CS7, 1),
            (Mode::VSTATUS, 3),
            (Mode::TTY_OP_OSPEED, 38_400),
            (Mode::TTY_OP_ISPEED, 1),
            (Mode::VERASE, 70_000),
        ];
        apply(&theirs, &modes).unwrap();
        let termios = tcgetattr(&theirs).unwrap();
        assert!(!termios.local_modes.contains(LocalModes::ECHO));
        assert!(termios.input_modes.contains(InputModes::IUTF8));
        assert!(!termios.output_modes.contains(OutputModes::ONLCR));
        assert_eq!(termios.special_codes[Special::VINTR], 7);
        assert_eq!(termios.special_codes[Special::VSUSP], DISABLED);
    }
}
