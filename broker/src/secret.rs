//! Secrets in the data folder: each one file, made once, whole or not at all, and closed to others.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context as _;
use moorline_wire::Code;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::problem::Problem;

/// What is larger is no secret.
const SECRET_BYTES_MAX: u64 = 256 * 1024;

/// What `name` in `data_dir` holds; what `make` makes, when it is not there yet. `what` is its name
/// for people.
pub fn load_or_create<T>(
    data_dir: &Path,
    name: &str,
    what: &str,
    make: impl FnOnce() -> anyhow::Result<Zeroizing<Vec<u8>>>,
    parse: impl FnOnce(&[u8]) -> anyhow::Result<T>,
) -> Result<T, Problem> {
    let path = data_dir.join(name);
    let bytes = match File::open(&path) {
        Ok(file) => read(file),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            make().and_then(|bytes| create(data_dir, name, &bytes).map(|()| bytes))
        }
        Err(err) => Err(err).context("opening it"),
    };
    bytes.and_then(|bytes| parse(&bytes)).map_err(|err| {
        let told = format!("The {what} {} cannot be used: {err:#}.", path.display());
        Problem::new(Code::BAD_CONFIG).saying(told).because(err)
    })
}

/// The text of a file that a setting names and that must be closed to others.
pub fn read_text(setting: &str, path: &Path) -> Result<Zeroizing<String>, Problem> {
    let text = File::open(path).context("opening it").and_then(read).and_then(|bytes| {
        let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("it is not a text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    });
    text.map_err(|err| {
        let told = format!("{setting} = {} cannot be used: {err:#}.", path.display());
        Problem::new(Code::BAD_CONFIG).saying(told).because(err)
    })
}

/// Writes a file anew, whole or not at all, for its owner alone.
pub fn replace(data_dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Problem> {
    let path = data_dir.join(name);
    let draft = data_dir.join(format!("{name}.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&draft, &path))
        .and_then(|()| File::open(data_dir)?.sync_all());
    written.map_err(|err| {
        let told = format!("The file {} cannot be written: {err}.", path.display());
        Problem::new(Code::BAD_CONFIG).saying(told).because(err)
    })
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> anyhow::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
    Ok(bytes)
}

fn read(file: File) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mode = file.metadata().context("reading its permissions")?.permissions().mode() & 0o777;
    anyhow::ensure!(mode & 0o077 == 0, "its mode is {mode:o}, so others can use it; make it 600");
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(SECRET_BYTES_MAX).read_to_end(&mut bytes).context("reading it")?;
    Ok(bytes)
}

/// Writes a new secret under another name and renames it: there is a whole one or none.
fn create(data_dir: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).context("making the data folder")?;
    let mode = data_dir.metadata().context("reading the data folder")?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        std::fs::set_permissions(data_dir, Permissions::from_mode(0o700))
            .context("closing the data folder to others")?;
    }
    let draft = data_dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .context("creating it")?;
    file.write_all(bytes).context("writing it")?;
    file.sync_all().context("writing it")?;
    // A link refuses to replace a secret that another process has made meanwhile.
    std::fs::hard_link(&draft, data_dir.join(name)).context("naming it")?;
    std::fs::remove_file(&draft).context("removing its draft")?;
    File::open(data_dir).and_then(|dir| dir.sync_all()).context("writing the data folder")
}
