//! The words that stand in labels and belong to nobody else: closed lists, so that no label can grow.

/// Declares a closed list of words.
macro_rules! labels {
    ($($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $label:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// Every word of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word as a metric label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    )*};
}

labels! {
    /// Which way the bytes of a session went.
    Direction {
        /// From the device to the people.
        Output = "output",
        /// From the people to the device.
        Input = "input",
    }

    /// How the sessions that were killed had been addressed.
    KilledBy {
        /// By their own id.
        Session = "session",
        /// By whose they are.
        User = "user",
        /// By the device they are on.
        Device = "device",
    }

    /// Which part of the way from a person to their shell broke, and was joined again.
    Leg {
        /// From the page to the broker.
        Browser = "browser",
        /// From the broker to the device: its link.
        Device = "device",
        /// To the keeper: a new SSH connection was needed.
        Keeper = "keeper",
    }

    /// What somebody showed that proved nothing.
    Proof {
        /// A device's signature or install key.
        Device = "device",
        /// A ticket or resume token of a terminal.
        Terminal = "terminal",
        /// A name and a password.
        Password = "password",
        /// The code of an authenticator, or a recovery code.
        SecondFactor = "second_factor",
        /// What a login provider said, or what a browser said of it.
        Provider = "provider",
        /// A name and a password, or an invitation, that was not even looked at: too many before it were wrong.
        Throttled = "throttled",
        /// The cookie of a login.
        Login = "login",
        /// An API token.
        Token = "token",
        /// An invitation to set a password.
        Invitation = "invitation",
    }

    /// Why a socket does not carry its device's link any more.
    Break {
        /// It was closed, or cut, by the device or on the way.
        Closed = "closed",
        /// Nothing was heard of it for `timing.link_dead`.
        Silent = "silent",
        /// The device came back over another socket, or as another link.
        Replaced = "replaced",
        /// The device was forgotten or revoked.
        Forgotten = "forgotten",
        /// The broker goes.
        Drained = "drained",
        /// What came over it broke the protocol.
        Protocol = "protocol",
        /// Something inside the broker failed.
        Failed = "failed",
    }

    /// Why a browser that was attached left. Where the broker sent it away, the code stands instead.
    Left {
        /// It said goodbye: the tab was closed, or loaded again.
        Closed = "closed",
        /// Its connection ended without a word.
        Cut = "cut",
        /// Nothing was heard of it for `timing.user_dead`.
        Silent = "silent",
        /// It broke the protocol.
        Broken = "broken",
        /// It took nothing for `timing.user_dead`.
        Stalled = "stalled",
    }

    /// A wait that has a limit.
    Wait {
        /// For a turn to greet a device.
        GreetingTurn = "greeting_turn",
        /// For a device's greeting.
        Greeting = "greeting",
        /// For a browser's first message.
        Hello = "hello",
        /// For an SSH set-up.
        SshHandshake = "ssh_handshake",
        /// For a login on a device.
        SshAuth = "ssh_auth",
        /// For a shell on a device.
        SshChannel = "ssh_channel",
        /// For somebody to attach to a session.
        Detached = "detached",
        /// For the device of a session.
        Adrift = "adrift",
        /// For somebody to type.
        SessionIdle = "session_idle",
        /// For a session to end by itself.
        SessionMax = "session_max",
        /// For room in a viewer's socket.
        ViewerStalled = "viewer_stalled",
        /// For a device to let go of an ended session.
        Release = "release",
        /// For a device to hold nothing any more.
        Clear = "clear",
        /// For a turn to check a password.
        PasswordTurn = "password_turn",
        /// For the login provider.
        Provider = "provider",
        /// For a login to change before it is looked at again.
        LoginCheck = "login_check",
        /// For a request's body.
        HttpBody = "http_body",
        /// For the store.
        Store = "store",
        /// For the sessions to be left to the next broker.
        DrainSessions = "drain_sessions",
        /// For everything to end.
        Drain = "drain",
    }
}
