//! Every reason for which anything is refused or ends: one table, one line each.
//!
//! The numbers are WebSocket close codes of the private range (RFC 6455 section 7.4.2), used
//! alike in close frames, in `RESET` and `REFUSED` frames of the link, in the JSON errors of the
//! API (`code` is the name), in endings, logs and metric labels. A number is never used twice.
//! `web/src/link/codes.ts` is written from this table by `cargo run -p moorline-wire --example codes`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One reason of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

macro_rules! codes {
    ($($constant:ident = $number:literal, $name:literal, $status:literal, $sentence:literal, $remedy:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`", $name, "`, HTTP ", $status, ": ", $sentence, " ", $remedy)]
            pub const $constant: Code = Code($number);)*

            /// Every code, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$constant),*];

            /// The stable name: API errors, logs, metric labels.
            pub fn name(self) -> &'static str {
                match self.0 { $($number => $name,)* _ => "unknown_code" }
            }

            /// What happened, in a whole sentence for a person.
            pub fn sentence(self) -> &'static str {
                match self.0 { $($number => $sentence,)* _ => "Something ended for a reason that this version does not know." }
            }

            /// What the person can do about it; empty where nothing is to be done.
            pub fn remedy(self) -> &'static str {
                match self.0 { $($number => $remedy,)* _ => "" }
            }

            /// The HTTP status (RFC 9110) that an API answer with this code has.
            pub fn http_status(self) -> u16 {
                match self.0 { $($number => $status,)* _ => 500 }
            }

            /// The code of that name.
            pub fn named(name: &str) -> Option<Code> {
                match name { $($name => Some(Code::$constant),)* _ => None }
            }
        }
    };
}

codes! {
    PROTOCOL = 4400, "protocol", 400, "The other side sent something out of place.", "Try again; if it comes back, report it with the request id.";
    LOGIN_EXPIRED = 4401, "login_expired", 401, "Your login has expired.", "Log in again; the shell is kept.";
    TICKET_EXPIRED = 4402, "ticket_expired", 401, "The ticket for this terminal has expired or was used before.", "Open the terminal again.";
    POLICY = 4403, "policy", 403, "You may not do this.", "Ask an administrator for access.";
    UNKNOWN = 4404, "unknown", 404, "There is no such thing here.", "Go back to the list and pick another.";
    ORIGIN = 4405, "origin", 403, "The request came from a page of another site.", "Open Moorline at its own address, or add the address to http.origins.";
    VERSION = 4406, "version", 426, "The two sides speak no common version of the protocol.", "Reload the page, or upgrade the older side.";
    UNKNOWN_DEVICE = 4407, "unknown_device", 404, "There is no device of that id.", "Pick a device from the list.";
    HELLO_TIMEOUT = 4408, "hello_timeout", 408, "No greeting came in time.", "Try again; if it comes back, look at the network between.";
    TAKEN_OVER = 4409, "taken_over", 409, "This terminal was opened somewhere else.", "Take it back to go on here.";
    GONE = 4410, "gone", 410, "This session is over and nothing of it is left.", "Open a new session.";
    DEVICE_OFFLINE = 4412, "device_offline", 409, "The device is not connected.", "Check its power and network; the agent comes back by itself.";
    TOO_LARGE = 4413, "too_large", 413, "A message was larger than allowed.", "Send less at once.";
    BAD_REQUEST = 4414, "bad_request", 400, "The request is not well formed.", "See /api/v1/openapi.json for what is expected.";
    MEDIA_TYPE = 4415, "media_type", 415, "The body of the request is not JSON.", "Send it with Content-Type: application/json.";
    LOGIN_REFUSED = 4416, "login_refused", 401, "The name or the password is not right.", "Check both and try again; after some failures there is a wait.";
    SECOND_FACTOR = 4417, "second_factor", 401, "This account needs a code as well.", "Type the six digits that your authenticator shows, or one of your recovery codes.";
    CODE_REFUSED = 4418, "code_refused", 401, "The code is not right, or was used before.", "Type the next one that your authenticator shows; after some failures there is a wait.";
    SECOND_FACTOR_MISSING = 4419, "second_factor_missing", 403, "This broker wants a second factor, and you have none yet.", "Set one up on your account page.";
    NOT_LINKED = 4420, "not_linked", 403, "Nobody here belongs to that account of the login provider.", "Log in with your password and link it on your account page, or ask an administrator.";
    HOST = 4421, "host", 421, "The request names a host that is not this broker.", "Use the broker's own address, or add the name to http.hosts.";
    PROVIDER_FAILED = 4422, "provider_failed", 502, "The login provider did not answer as it should.", "Try again; if it comes back, ask an administrator to look at the broker's log.";
    PROVIDER_REFUSED = 4423, "provider_refused", 401, "The login provider did not let you in, or what it said cannot be trusted.", "Begin again on the login page; if it comes back, ask an administrator to look at the broker's log.";
    LOGIN_LOST = 4424, "login_lost", 400, "That login was not begun in this browser, or took too long.", "Begin again on the login page.";
    LIMIT = 4429, "limit", 429, "A limit is reached.", "End something that is no longer needed, or try again later.";
    EXITED = 4430, "exited", 200, "The shell exited.", "Open a new session.";
    KILLED = 4440, "killed", 410, "The session was ended by an administrator.", "Open a new session.";
    IDLE_LIMIT = 4441, "idle_limit", 410, "The session was idle for longer than allowed.", "Open a new session.";
    MAX_DURATION = 4442, "max_duration", 410, "The session has reached its longest duration.", "Open a new session.";
    DEVICE_LOST = 4450, "device_lost", 502, "The device did not come back in time.", "Open a new session when it is online.";
    HOST_KEY_CHANGED = 4451, "host_key_changed", 502, "The device shows another host key than the pinned one.", "If the key was changed on purpose, let an administrator accept it; if not, somebody may be listening.";
    DEVICE_REFUSED = 4452, "device_refused", 502, "The device refused the login.", "Check that the login exists on the device and that its sshd trusts this broker's CA.";
    SETUP_TIMEOUT = 4453, "setup_timeout", 504, "The device took too long to answer.", "Try again; if it comes back, look at the sshd on the device.";
    SHELL_REFUSED = 4454, "shell_refused", 502, "The device gave no shell.", "Look at the log of the sshd on the device.";
    SSHD_UNREACHABLE = 4455, "sshd_unreachable", 502, "The agent could not reach the sshd of its device.", "Check the sshd's address in agent.toml and that it runs.";
    SSH_FAILED = 4456, "ssh_failed", 502, "The SSH connection to the device broke off.", "Try again; if it comes back, look at the log of the sshd on the device.";
    INTERRUPTED = 4457, "interrupted", 503, "The way to the shell broke off; the device keeps the shell.", "Wait a moment; this comes back by itself.";
    NOT_ENROLLED = 4470, "not_enrolled", 401, "The broker does not know this device.", "Give the agent an install key of this broker (enroll.install_key_file).";
    BAD_SIGNATURE = 4471, "bad_signature", 401, "The device could not prove who it is.", "Enrol the device again.";
    EVICTED = 4472, "evicted", 409, "A newer connection of the same device took over.", "If that was not you, two agents share one identity: enrol one of them anew.";
    BROKER_UNTRUSTED = 4473, "broker_untrusted", 502, "The broker could not prove that it is the one this device was enrolled with.", "Enrol the device again if the broker was set up anew.";
    LINK_DEAD = 4474, "link_dead", 504, "Nothing was heard from the other side of the link for too long.", "The agent comes back by itself.";
    CANCELLED = 4475, "cancelled", 499, "It is no longer wanted.", "";
    AGENT_STOPPED = 4476, "agent_stopped", 502, "The agent on the device was stopped, and this shell with it.", "Open a new session when the device is online again.";
    DEVICE_PENDING = 4477, "device_pending", 409, "The device waits for approval and gets no sessions until then.", "Approve it on the devices page, or ask an administrator to.";
    DEVICE_REVOKED = 4478, "device_revoked", 403, "This device was revoked.", "If it is to come back, delete the state folder of its agent and enrol it anew.";
    INSTALL_KEY_OVER = 4479, "install_key_over", 401, "This install key is used up or has expired.", "Ask an administrator for another install key.";
    KEY_REPLACED = 4480, "key_replaced", 401, "The device has a newer key than this one.", "If that was not you, revoke the device; else give its agent the newer identity, or enrol it anew.";
    INTERNAL = 4500, "internal", 500, "Something failed inside Moorline.", "Try again; if it comes back, report it with the request id.";
    BAD_CONFIG = 4501, "bad_config", 500, "A setting cannot be used.", "Correct the setting that the message names.";
    PORT_IN_USE = 4502, "port_in_use", 500, "The address to listen on is taken by another program.", "Stop that program or choose another address with --set listen=ADDRESS:PORT.";
    OVERLOADED = 4503, "overloaded", 503, "Moorline has more to do than it can.", "Try again in a moment.";
    DISK_FULL = 4504, "disk_full", 507, "The disk of the broker is full.", "Free some space in its data folder.";
    STORE_FAILED = 4505, "store_failed", 503, "The broker's store does not answer.", "Try again; look at the broker's log.";
    GOING_AWAY = 4506, "going_away", 503, "The broker is being restarted.", "Wait a moment; this comes back by itself.";
    GAVE_UP = 4507, "gave_up", 500, "The session failed again and again and was given up.", "Open a new session; the broker's log has the cause.";
}

impl Code {
    /// The number, as it stands in close frames.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The code of a number that a peer sent; one that we do not know is kept as it is.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // A newer peer may have a reason that we have not: that is no fault of the message.
        Ok(Code::named(&name).unwrap_or(Code::INTERNAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_and_no_name_stands_twice() {
        let numbers: HashSet<_> = Code::ALL.iter().map(|c| c.number()).collect();
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
    }

    #[test]
    fn every_number_is_of_the_private_range_and_every_code_has_its_words() {
        for code in Code::ALL {
            assert!((4000..5000).contains(&code.number()), "{code:?}");
            assert!(code.sentence().ends_with('.'), "{code:?}");
            assert!(code.remedy().is_empty() || code.remedy().ends_with('.'), "{code:?}");
            // RFC 6455 section 5.5: a close reason has at most 123 bytes.
            assert!(code.sentence().len() <= 123, "{code:?}");
        }
    }
}
