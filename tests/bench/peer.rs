//! Everybody who is measured.

/// A way to reach a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// No shell: a process that sends back what it gets, over plain TCP. What the client itself takes.
    EchoFloor,
    /// The `ssh` program.
    DirectSsh,
    /// The same with the key exchange that SSH libraries use.
    DirectSshCurve25519,
    /// `ssh -J` through a second server.
    SshJump,
    /// The `ssh` program in a terminal of a node server, by Socket.IO.
    Wetty,
    /// An SSH client in Python behind a WebSocket.
    Webssh,
    /// Moorline and the SSH server in its agent.
    MoorlineEmbedded,
    /// Moorline in front of the OpenSSH server that everybody else is in front of.
    MoorlineOpenssh,
}

impl Peer {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::EchoFloor,
        Self::DirectSsh,
        Self::DirectSshCurve25519,
        Self::SshJump,
        Self::Wetty,
        Self::Webssh,
        Self::MoorlineEmbedded,
        Self::MoorlineOpenssh,
    ];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::EchoFloor => "echo_floor",
            Self::DirectSsh => "direct_ssh",
            Self::DirectSshCurve25519 => "direct_ssh_curve25519",
            Self::SshJump => "ssh_jump",
            Self::Wetty => "wetty",
            Self::Webssh => "webssh",
            Self::MoorlineEmbedded => "moorline_embedded",
            Self::MoorlineOpenssh => "moorline_openssh",
        }
    }

    /// Its name in the README.
    pub fn title(name: &str) -> &str {
        match name {
            "direct_ssh" => "direct `ssh`",
            "direct_ssh_curve25519" => "direct `ssh`, curve25519",
            "ssh_jump" => "`ssh -J`",
            "moorline_embedded" => "**Moorline**, embedded sshd",
            "moorline_openssh" => "**Moorline**, OpenSSH on the device",
            other => other,
        }
    }

    /// The peer of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether it is ours.
    pub fn is_moorline(self) -> bool {
        matches!(self, Self::MoorlineEmbedded | Self::MoorlineOpenssh)
    }
}
