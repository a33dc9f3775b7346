//! The keys that a login itself lets in, as OpenSSH's `authorized_keys` says it (sshd(8)).
//!
//! An entry with an option that is not understood lets nobody in: ignoring a restriction would give
//! more than its author meant to. A broken line spoils nothing but itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::{Algorithm, PublicKey};

use super::Grant;
use super::login::Login;

/// More than this is not a file of keys.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the keys of this login are, by the pattern of the settings.
pub fn path(pattern: &str, login: &Login) -> PathBuf {
    let (mut text, mut rest) = (String::new(), pattern.chars());
    while let Some(c) = rest.next() {
        match (c, c == '%') {
            (_, true) => match rest.next() {
                Some('h') => text.push_str(&login.home.to_string_lossy()),
                Some('u') => text.push_str(&login.name),
                Some(other) => text.push(other),
                None => text.push('%'),
            },
            (c, false) => text.push(c),
        }
    }
    match Path::new(&text) {
        path if path.is_absolute() => path.to_owned(),
        path => login.home.join(path),
    }
}

/// Reads the file if nobody but the login and root can have written it (OpenSSH's StrictModes).
pub fn read(path: &Path, login: &Login) -> io::Result<String> {
    let trusted = |path: &Path| -> io::Result<()> {
        let meta = fs::metadata(path)?;
        let owner = meta.uid() == login.uid.as_raw() || meta.uid() == 0;
        if owner && meta.mode() & 0o022 == 0 {
            return Ok(());
        }
        let why = format!("{} could have been written by others", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    };
    let real = fs::canonicalize(path)?;
    let home = fs::canonicalize(&login.home).unwrap_or_else(|_| login.home.clone());
    for folder in real.ancestors() {
        trusted(folder)?;
        if folder == home {
            break;
        }
    }
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(&real)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the file allows to the holder of this key, if anything.
pub fn find(text: &str, key: &PublicKey) -> Option<Grant> {
    text.lines().filter_map(entry).filter(|(listed, _)| listed.key_data() == key.key_data()).find_map(
        |(_, options)| {
            let grant = grant(&options);
            if grant.is_none() {
                tracing::warn!(key = %key.fingerprint(Default::default()), "its entry in authorized_keys has an option that is not understood, so it lets nobody in");
            }
            grant
        },
    )
}

/// Whether keys of this kind can be used at all.
pub fn usable(algorithm: &Algorithm) -> bool {
    // SHA-1 signatures can be forged; a security key's touch could not be checked here.
    !matches!(
        algorithm,
        Algorithm::Rsa { hash: None }
            | Algorithm::Dsa
            | Algorithm::SkEd25519
            | Algorithm::SkEcdsaSha2NistP256
    )
}

/// The key of a line and the options before it.
fn entry(line: &str) -> Option<(PublicKey, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if let Ok(key) = PublicKey::from_openssh(line) {
        return Some((key, String::new()));
    }
    let end = outside_quotes(line).find(|(_, c)| c.is_whitespace())?.0;
    let key = PublicKey::from_openssh(line[end..].trim_start()).ok()?;
    Some((key, line[..end].to_owned()))
}

/// The characters that are not inside double quotes, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        let inside = quoted;
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = *c == '\\' && !escaped;
        !inside && *c != '"'
    })
}

fn grant(options: &str) -> Option<Grant> {
    let mut grant = Grant { by: "authorized_keys".into(), pty: true, command: None };
    let commas = outside_quotes(options).filter(|(_, c)| *c == ',').map(|(place, _)| place);
    let ends: Vec<usize> = commas.chain([options.len()]).collect();
    let mut start = 0;
    for end in ends {
        let option = options[start..end].trim();
        start = end + 1;
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        match (name.to_ascii_lowercase().as_str(), value) {
            ("", None)
            | ("no-port-forwarding" | "no-agent-forwarding" | "no-x11-forwarding" | "no-user-rc", None) => {}
            ("restrict" | "no-pty", None) => grant.pty = false,
            ("pty", None) => grant.pty = true,
            ("command", Some(value)) => grant.command = Some(unquoted(value)?),
            _ => return None,
        }
    }
    Some(grant)
}

fn unquoted(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn found(text: &str) -> Option<(bool, Option<String>)> {
        find(text, &PublicKey::from_openssh(ONE).unwrap()).map(|grant| (grant.pty, grant.command))
    }

    #[test]
    fn comments_blank_lines_and_broken_lines_spoil_nothing() {
        let text = format!(
            "# a comment\r\n\r\nnonsense\nssh-ed25519 AAAA\n{TWO} two\n  {ONE} anna@home # x\r\n# end"
        );
        assert_eq!(found(&text), Some((true, None)));
        assert_eq!(found(&format!("#{ONE}")), None);
        assert_eq!(found(TWO), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn options_that_are_understood_are_obeyed_and_others_let_nobody_in() {
        for (options, expected) in [
            ("no-pty", Some((false, None))),
            ("restrict", Some((false, None))),
            ("restrict,pty", Some((true, None))),
            ("no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-user-rc", Some((true, None))),
            (r#"command="echo \"a, b\" # c""#, Some((true, Some(r#"echo "a, b" # c"#.to_owned())))),
            (r#"no-pty,command="x y",no-user-rc"#, Some((false, Some("x y".to_owned())))),
            (r#"from="10.0.0.1""#, None),
            ("cert-authority", None),
            (r#"environment="A=b""#, None),
            ("no-pty,permitopen=\"x:1\"", None),
            ("command=x", None),
            ("something-new", None),
        ] {
            assert_eq!(found(&format!("{options} {ONE} comment")), expected, "{options}");
        }
    }

    proptest::proptest! {
        /// FAULTS 13: whatever else stands in the file, a key's own line counts and nobody else's.
        #[test]
        fn no_other_line_of_a_file_changes_who_is_let_in(
            before in proptest::collection::vec("[ -~\t]{0,80}", 0..8),
            after in proptest::collection::vec("\\PC{0,80}", 0..8),
            options in "[a-z\"=,\\\\ -]{0,40}",
        ) {
            let others = format!("{}\r\n{}\n", before.join("\r\n"), after.join("\n"));
            proptest::prop_assert_eq!(found(&others), None);
            proptest::prop_assert_eq!(found(&format!("{others}{ONE} comment\r\n{others}")), Some((true, None)));
            // Must not panic; what it gives, it gives by options that are understood.
            let _ = found(&format!("{options} {ONE}"));
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let login = Login { home: dir.path().to_owned(), ..Login::own().unwrap() };
        let file = dir.path().join("keys");
        fs::write(&file, ONE).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o644);
        assert_eq!(read(&file, &login).unwrap(), ONE);
        mode(&file, 0o664);
        assert_eq!(read(&file, &login).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        mode(&file, 0o600);
        mode(dir.path(), 0o777);
        assert_eq!(read(&file, &login).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn the_pattern_names_the_file_of_the_login() {
        let login = Login { home: "/home/anna".into(), name: "anna".into(), ..Login::own().unwrap() };
        for (pattern, expected) in [
            ("%h/.ssh/authorized_keys", "/home/anna/.ssh/authorized_keys"),
            ("/etc/keys/%u", "/etc/keys/anna"),
            (".ssh/keys%%", "/home/anna/.ssh/keys%"),
        ] {
            assert_eq!(path(pattern, &login), Path::new(expected));
        }
    }
}
