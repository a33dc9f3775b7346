//! Every setting of the broker: declared once, with its explanation and its default.
//!
//! `load` puts the layers together (defaults < file < environment < `--set`), remembers for each
//! value where it came from, refuses keys that do not exist, and checks the relations between
//! the values. `config/broker.toml` is written from the declarations below; a test keeps it so.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod check;
mod layers;
mod network;
mod value;

use crate::identity::Secret;
pub use layers::{Layers, Loaded, load};
pub use network::Network;
pub use value::ByteSize;
use value::{Raw, Setting};

/// One setting, as it was declared.
pub struct Declared {
    /// The full key, e.g. `timing.link_ping`.
    pub key: &'static str,
    /// What it is for, line by line: the explanation in `config/broker.toml`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that keeps the file reads it"))]
    pub doc: &'static [&'static str],
}

/// Declares a section of settings: the struct, its defaults, the list of its keys, and how one
/// of them is set from a value of a file or from text. After its own keys it may hold sections.
macro_rules! settings {
    ($(#[$meta:meta])* $name:ident in $prefix:literal {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $default:literal;)*
    } $($section:ident: $section_type:ident;)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
            $(#[doc = concat!("The section `[", stringify!($section), "]`.")] pub $section: $section_type,)*
        }

        impl $name {
            /// Every setting, in the order of the declarations.
            pub fn declared() -> Vec<Declared> {
                #[allow(unused_mut, reason = "most sections hold no sections")]
                let mut declared = vec![$(Declared {
                    key: concat!($prefix, stringify!($field)),
                    doc: &[$($doc),*],
                }),*];
                $(declared.extend($section_type::declared());)*
                declared
            }

            /// Sets the field of that full key; `None` when there is no such key.
            fn set(&mut self, key: &str, value: &Raw) -> Option<Result<(), String>> {
                match key {
                    $(concat!($prefix, stringify!($field)) => {
                        Some(Setting::read(value).map(|value| self.$field = value))
                    })*
                    _ => None$(.or_else(|| self.$section.set(key, value)))*,
                }
            }

            /// Key and value of every setting, the value as a TOML file has it.
            fn shown(&self) -> Vec<(&'static str, String)> {
                #[allow(unused_mut, reason = "most sections hold no sections")]
                let mut shown = vec![$((concat!($prefix, stringify!($field)), self.$field.show())),*];
                $(shown.extend(self.$section.shown());)*
                shown
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: Setting::read(&Raw::text($default))
                        .expect("defaults are of their type: a test reads them all"),)*
                    $($section: $section_type::default(),)*
                }
            }
        }
    };
}

settings! {
    /// Who may speak HTTP to the broker, and how many hands it has for that.
    Http in "http." {
        /// Pages that may use the API and open terminals, e.g. "https://moorline.example.org".
        /// The origins of the listen address itself are always allowed.
        origins: Vec<String> = "";
        /// Proxies in front of the broker, as addresses or networks, e.g. "10.0.0.7" or "fd00::/8". Only from them
        /// X-Forwarded-For says where somebody comes from.
        trusted_proxies: Vec<Network> = "";
        /// Host names (with port, if not the default one) that requests may name besides the listen address.
        hosts: Vec<String> = "";
        /// Threads that serve sockets; 0 takes one for every two cores.
        workers: usize = "0";
        /// How many connections may wait to be accepted.
        backlog: u32 = "4096";
    }
}

settings! {
    /// TLS in the broker itself. Without a certificate it speaks plain HTTP, for its own machine or for a proxy.
    Tls in "tls." {
        /// The certificate and those that lead to its root (PEM). The names that it is for may be named in requests,
        /// with the port of the listen address; those of a renewed one as soon as it is shown.
        certificate_file: Option<PathBuf> = "";
        /// Its private key (PEM, not encrypted, mode 600).
        key_file: Option<PathBuf> = "";
        /// The oldest version that is spoken: "1.2" or "1.3".
        min_version: TlsVersion = "1.2";
        /// How often both files are looked at. New ones are shown to new connections, without a restart; the others
        /// stay. Files that cannot be used are told in the log, and the ones before are kept.
        check: Duration = "10s";
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246, with forward secrecy only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

settings! {
    /// How devices become known.
    Enroll in "enroll." {
        /// A file with the install key: one line, 32 random bytes or more in base64. Without one,
        /// only devices that are already known may connect.
        install_key_file: Option<PathBuf> = "";
        /// "automatic": a device that proves the install key is enrolled at once. "closed": none is.
        mode: EnrollMode = "automatic";
    }
}

/// What happens to a device that the broker does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollMode {
    /// Enrolled at once, when it proves the install key.
    Automatic,
    /// Refused.
    Closed,
}

settings! {
    /// How the broker logs in to devices.
    Ssh in "ssh." {
        /// "certificate": with a certificate of the broker's CA. "key": with a private key, the device's own or the
        /// broker's. "certificate_then_key": with the key where the device refuses the certificate.
        login_with: LoginWith = "certificate_then_key";
        /// A private key for all devices that have none of their own: OpenSSH form, mode 600.
        private_key_file: Option<PathBuf> = "";
        /// A file with its passphrase, if it has one; mode 600.
        passphrase_file: Option<PathBuf> = "";
        /// The keys that devices' own private keys are sealed with in the store: one a line, each 32 random bytes in
        /// base64, mode 600. The first seals, all of them open: a new one goes in front, and at the next start
        /// everything is sealed anew. Without one, devices cannot be given keys.
        storage_key_file: Option<PathBuf> = "";
        /// The same without a file, for the environment: MOORLINE_SSH__STORAGE_KEY.
        storage_key: Secret = "";
    }
}

/// With what the broker logs in to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginWith {
    /// A certificate.
    Certificate,
    /// A certificate, and if it is refused, a private key.
    CertificateThenKey,
    /// A private key.
    Key,
}

settings! {
    /// How people log in. In demo mode nobody does.
    Login in "login." {
        /// A login that is not used for so long is over.
        idle: Duration = "12h";
        /// The longest that a login may last.
        lasts: Duration = "7d";
        /// How long an invitation to set a password can be used.
        invitation: Duration = "24h";
        /// So many failures of one account cost no wait; of one address, four times as many.
        failures: usize = "5";
        /// The wait after one failure more; each further one doubles it.
        lockout: Duration = "1m";
        /// The longest wait, and how long failures are remembered.
        lockout_max: Duration = "15m";
        /// Accounts and addresses whose failures are remembered.
        remembered: usize = "20000";
        /// Passwords that are hashed at once; each takes 19 MiB while it is.
        hashes_at_once: usize = "2";
        /// How often it is looked whether what somebody does is still allowed: a login that ended, a grant that
        /// was taken back. What is changed here takes effect at once; what runs out, within this time.
        check: Duration = "15s";
        /// Whether a password needs the code of an authenticator (TOTP) beside it. "optional": whoever has set one up
        /// is asked for it. "required": whoever has none can do nothing but set one up. What the login provider asks is
        /// its own business.
        totp: Totp = "optional";
        /// Takes passwords over plain HTTP from other machines, too: everybody on the way can read them.
        allow_http: bool = "false";
    }
}

settings! {
    /// Logging in by an OpenID Connect provider, beside passwords.
    Oidc in "oidc." {
        /// The provider's issuer, e.g. "https://id.example.org/realms/main"; empty: there is none. Its client is told
        /// to send browsers back to https://MOORLINE/api/v1/login/oidc/callback.
        issuer: String = "";
        /// What the provider calls this broker.
        client_id: String = "";
        /// A file with the client's secret on one line; empty: the client is a public one.
        client_secret_file: Option<PathBuf> = "";
        /// What is asked for besides "openid".
        scopes: Vec<String> = "profile,email";
        /// Makes an account for whoever the provider lets in. Otherwise only those log in by it who have linked their
        /// account on the account page.
        create: bool = "false";
        /// The claim that such an account is named after; names are never given twice.
        name_claim: String = "preferred_username";
        /// The claim with the groups of such an account; empty: it gets none.
        groups_claim: String = "";
        /// The roles of such an account by its groups, e.g. ["ops=operator", "it=admin", "*=watcher"]: taken from the
        /// provider anew at each login.
        roles: Vec<String> = "";
        /// What the button on the login page says.
        label: String = "Log in by your organisation";
    }
}

/// Whether everybody with a password needs a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Totp {
    /// Everybody decides for themselves.
    Optional,
    /// Everybody needs one.
    Required,
}

settings! {
    /// Every wait of the broker. Relations between them are checked at start.
    Timing in "timing." {
        /// How long a device may take for its greeting.
        greeting: Duration = "5s";
        /// How long a browser may take for the first message on a terminal.
        hello: Duration = "5s";
        /// How long a ticket for a terminal can be used.
        ticket: Duration = "30s";
        /// The whole SSH set-up of a session: key exchange, login, channel.
        ssh_handshake: Duration = "15s";
        /// The login within it.
        ssh_auth: Duration = "10s";
        /// Channel, pty and shell within it.
        ssh_channel: Duration = "5s";
        /// How often a link without traffic is pinged.
        link_ping: Duration = "5s";
        /// Nothing heard from a device for so long: its link is called unstable.
        link_unstable: Duration = "10s";
        /// Nothing heard for so long: the transport is dead and is closed.
        link_dead: Duration = "15s";
        /// How long a link without a transport is kept, so that a device that comes back goes on where it was.
        link_resume_within: Duration = "1m";
        /// How often a browser's socket is pinged; the browser itself answers, also in a hidden tab.
        user_ping: Duration = "20s";
        /// No answer from a browser for so long: its socket is closed, the session stays.
        user_dead: Duration = "45s";
        /// How often a visible terminal asks whether the broker is there.
        viewer_ping: Duration = "5s";
        /// No answer for so long: the terminal reconnects.
        viewer_dead: Duration = "15s";
        /// How long a program that writes much waits for a browser whose connection broke; then it goes
        /// on, and the oldest output is lost.
        driver_back_within: Duration = "30s";
        /// How long a shell is kept while nobody is attached to it.
        detached_for: Duration = "24h";
        /// How long after its last attach a browser comes back without a new ticket.
        resume_for: Duration = "30d";
        /// How long a session is kept whose device or keeper cannot be reached; then it ends with
        /// device_lost.
        adrift_for: Duration = "24h";
        /// A session in which nobody typed for so long is ended; "0s": never.
        idle: Duration = "0s";
        /// The longest that a session may last; "0s": as long as it likes.
        session_max: Duration = "0s";
        /// How long before either of these two ends a session its viewers are warned.
        warning: Duration = "1m";
        /// The longest wait before the first attempt to take a shell up again; it doubles with each
        /// further one. Each waits a random part of it, so that many do not come at once.
        reattach_backoff: Duration = "250ms";
        /// The longest wait between two such attempts.
        reattach_backoff_max: Duration = "15s";
        /// How long a stop of the broker may take.
        drain: Duration = "30s";
        /// An actor that fails `limits.restarts` times within this window is given up.
        restart_window: Duration = "1m";
        /// The wait before the first restart of an actor; it doubles with each further one.
        restart_backoff: Duration = "100ms";
        /// A thread that does not answer for so long is stuck: the process ends, to be started anew.
        arbiter_stuck: Duration = "10s";
        /// One call to the store.
        store: Duration = "5s";
        /// How long a password may wait for its turn to be hashed.
        password: Duration = "5s";
        /// How long the login provider may take for one answer.
        provider: Duration = "10s";
        /// How long a killed session's programs have between SIGHUP and SIGKILL.
        kill_grace: Duration = "5s";
        /// How long a session's certificate is valid.
        certificate: Duration = "5m";
        /// How long the handshake of a TLS connection may take.
        tls_handshake: Duration = "5s";
        /// How long a request's head may take to arrive.
        http_header: Duration = "5s";
        /// How long a request's body may take to arrive.
        http_body: Duration = "10s";
        /// How long a connection without a request is kept.
        http_idle: Duration = "75s";
    }
}

settings! {
    /// Bounds of everything that can grow.
    Limits in "limits." {
        /// Devices that the broker knows.
        devices: usize = "20000";
        /// Devices that wait for approval; beyond that, no install key of the mode pending enrols one more.
        devices_pending: usize = "1000";
        /// Install keys.
        install_keys: usize = "1000";
        /// Streams inside one link.
        streams_per_link: usize = "256";
        /// Sessions that are not over.
        sessions: usize = "10000";
        /// Sessions of one device that are not over.
        sessions_per_device: usize = "200";
        /// Browsers attached to one session.
        viewers_per_session: usize = "16";
        /// Messages that wait for one actor.
        mailbox: usize = "256";
        /// One message on a link.
        frame_link: ByteSize = "64KiB";
        /// One message on a terminal socket.
        frame_term: ByteSize = "64KiB";
        /// The body of an HTTP request.
        body: ByteSize = "64KiB";
        /// Recent output that a session remembers for viewers who come back.
        ring: ByteSize = "1MiB";
        /// Output that a viewer has not yet shown.
        window: ByteSize = "256KiB";
        /// Input of a viewer that the program has not yet taken.
        in_window: ByteSize = "128KiB";
        /// Restarts of one actor within `timing.restart_window`.
        restarts: usize = "5";
        /// Connections that are open at once.
        sockets: usize = "25000";
        /// Devices that are greeting at once; more wait their turn.
        greetings_at_once: usize = "64";
        /// People who have an account.
        people: usize = "10000";
        /// Grants.
        grants: usize = "10000";
        /// API tokens of one person.
        tokens_per_person: usize = "50";
        /// Acts that the audit keeps; the oldest go.
        audit: usize = "500000";
        /// Browsers that listen to changes (/api/v1/events) at once.
        event_streams: usize = "64";
    }
}

settings! {
    /// The process on a device that holds a session's shell and outlives the broker.
    Keeper in "keeper." {
        /// Whether the keeper is used where a device has one. Without it, a shell ends with the broker.
        enabled: bool = "true";
        /// Recent output that a keeper remembers for viewers who come back.
        ring: ByteSize = "4MiB";
        /// What happens when that is full and nobody reads. "continue": the program goes on, and the
        /// oldest output is lost. "hold": the program waits, and nothing is lost.
        overflow: Overflow = "continue";
        /// How long a keeper stays while no broker comes to it; then it ends its shell.
        orphaned_for: Duration = "24h";
    }
}

/// What a keeper does when its ring is full and nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The program goes on; the oldest output is lost.
    Continue,
    /// The program waits; nothing is lost.
    Hold,
}

settings! {
    /// What the broker writes about itself.
    Log in "log." {
        /// "auto": readable lines on a terminal, JSON for a service. Or "pretty", or "json".
        format: LogFormat = "auto";
        /// What is written: a level, and levels per part, e.g. "info,moorline_broker::device=debug".
        filter: String = "info,actix_server=warn";
    }
}

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// Lines for a person.
    Pretty,
    /// One JSON object per line.
    Json,
}

settings! {
    /// Traces, sent by OTLP over HTTP.
    Tracing in "tracing." {
        /// Where to send them, e.g. "http://127.0.0.1:4318"; empty sends none. The environment's
        /// OTEL_EXPORTER_OTLP_ENDPOINT is taken when this is empty.
        otlp_endpoint: String = "";
        /// What the broker is called in traces. Empty: the environment's OTEL_SERVICE_NAME, or moorline-broker.
        service_name: String = "";
    }
}

settings! {
    /// Every setting. Shared as `Arc<Config>`.
    Config in "" {
        /// The address and port that browsers and agents connect to.
        listen: SocketAddr = "127.0.0.1:8080";
        /// The broker's name: part of what a device signs, so two brokers have two names.
        name: String = "moorline";
        /// The folder of the store and the CA key; made with mode 0700 when it is missing.
        data_dir: PathBuf = "/var/lib/moorline/broker";
        /// Demo mode: one administrator without a login, so only on a loopback address.
        demo: bool = "false";
    }
    http: Http;
    tls: Tls;
    enroll: Enroll;
    ssh: Ssh;
    login: Login;
    oidc: Oidc;
    timing: Timing;
    limits: Limits;
    keeper: Keeper;
    log: Log;
    tracing: Tracing;
}

#[cfg(test)]
mod tests;
