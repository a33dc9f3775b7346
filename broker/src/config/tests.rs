//! What is taken, what is refused and in which words, and that `config/broker.toml` is complete.

use std::fs;
use std::path::Path;

use moorline_wire::Code;

use super::*;
use crate::problem::Problem;

fn with_set(set: &[&str]) -> Result<Loaded, Problem> {
    load(&Layers { set: set.iter().map(|pair| (*pair).to_owned()).collect(), ..Layers::default() })
}

fn with_file(text: &str) -> Result<Loaded, Problem> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker.toml");
    fs::write(&path, text).unwrap();
    load(&Layers { file: Some(path), ..Layers::default() })
}

fn with_environment(pairs: &[(&str, &str)]) -> Result<Loaded, Problem> {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Layers { environment, ..Layers::default() })
}

/// The text of a refusal, which must be BAD_CONFIG.
fn refusal(outcome: Result<Loaded, Problem>) -> String {
    let problem = outcome.unwrap_err();
    assert_eq!(problem.code, Code::BAD_CONFIG);
    problem.text
}

/// What `config/broker.toml` must say.
fn explained() -> String {
    let mut text = String::from(
        "# Every setting of moorline-broker at its default, explained. Copy what you want to change.\n\
         # Also: the environment (MOORLINE_TIMING__LINK_PING=2s) and --set timing.link_ping=2s.\n\
         # moorline-broker --check prints every effective value and where it comes from.\n",
    );
    let shown = Config::default().shown();
    let mut section = "";
    for (declared, (key, value)) in Config::declared().into_iter().zip(shown) {
        assert_eq!(declared.key, key);
        let (its_section, name) = key.split_once('.').unwrap_or(("", key));
        if its_section != section {
            section = its_section;
            text += &format!("\n[{section}]\n");
        } else {
            text += "\n";
        }
        for line in declared.doc {
            text += &format!("#{line}\n");
        }
        text += &format!("{name} = {value}\n");
    }
    text
}

#[test]
fn the_file_in_config_has_every_setting_at_its_default_with_its_explanation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/broker.toml");
    let expected = explained();
    if std::env::var_os("MOORLINE_TEST_UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, expected,
        "write it with MOORLINE_TEST_UPDATE=1 cargo nextest run -p moorline-broker the_file"
    );
    let loaded = load(&Layers { file: Some(path), ..Layers::default() }).unwrap();
    assert_eq!(loaded.config.shown(), Config::default().shown());
}

#[test]
fn every_setting_is_explained_in_a_sentence() {
    for declared in Config::declared() {
        assert!(declared.doc.last().is_some_and(|line| line.ends_with('.')), "{}", declared.key);
    }
}

#[test]
fn the_demo_file_can_be_used() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo.toml");
    let config = load(&Layers { file: Some(path), ..Layers::default() }).unwrap().config;
    assert!(config.demo && config.listen.ip().is_loopback());
}

#[test]
fn a_later_layer_wins_and_check_tells_where_each_value_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker.toml");
    fs::write(
        &path,
        "name = \"of-file\"\n[timing]\nlink_ping = \"1s\"\nviewer_ping = \"1s\"\n[limits]\nring = \"2MiB\"\n",
    )
    .unwrap();
    let layers = Layers {
        file: Some(path.clone()),
        environment: vec![
            ("MOORLINE_TIMING__LINK_PING".into(), "2s".into()),
            ("HOME".into(), "/root".into()),
        ],
        set: vec!["timing.viewer_ping=3s".into()],
    };
    let loaded = load(&layers).unwrap();
    let listing = loaded.listing();
    for line in [
        format!("name = \"of-file\"  # {}", path.display()),
        "timing.link_ping = \"2s\"  # environment MOORLINE_TIMING__LINK_PING".to_owned(),
        "timing.viewer_ping = \"3s\"  # --set".to_owned(),
        format!("limits.ring = \"2MiB\"  # {}", path.display()),
        "demo = false  # default".to_owned(),
    ] {
        assert!(listing.lines().any(|listed| listed == line), "{line} is missing in\n{listing}");
    }
    assert_eq!(listing.lines().count(), Config::declared().len());
}

#[test]
fn a_value_may_stand_in_a_file_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("name");
    fs::write(&path, "from-a-file\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(with_environment(&[("MOORLINE_NAME_FILE", path)]).unwrap().config.name, "from-a-file");
    // A setting that is itself a file's path is not read.
    let config = with_environment(&[("MOORLINE_ENROLL__INSTALL_KEY_FILE", path)]).unwrap().config;
    assert_eq!(config.enroll.install_key_file.unwrap(), Path::new(path));
    assert!(refusal(with_environment(&[("MOORLINE_NAME_FILE", "/no/such")])).contains("/no/such"));
}

#[test]
fn an_unknown_key_is_refused_by_name_and_origin() {
    assert_eq!(
        refusal(with_set(&["timing.link_pingg=1s"])),
        "There is no setting timing.link_pingg (--set). config/broker.toml lists every setting."
    );
    assert_eq!(
        refusal(with_set(&["link_ping=1s"])),
        "There is no setting link_ping (--set). Did you mean timing.link_ping?"
    );
    assert!(
        refusal(with_environment(&[("MOORLINE_LISTEM", "x")]))
            .starts_with("There is no setting listem (environment MOORLINE_LISTEM).")
    );
    let text = refusal(with_file("[timing]\nno_such = 1\n"));
    assert!(text.starts_with("There is no setting timing.no_such (/"), "{text}");
    assert!(text.contains("broker.toml)"), "{text}");
}

#[test]
fn a_value_of_another_kind_is_refused_with_what_is_expected() {
    for (set, why) in [
        ("timing.link_ping=5", "must be a time with its unit, like 250ms, 30s or 10m"),
        ("limits.ring=1048576", "must be a size with its unit, like 64KiB or 4MiB"),
        ("limits.sessions=-1", "must be a whole number"),
        ("demo=yes", "must be true or false"),
        ("listen=localhost", "must be an address and a port, like 127.0.0.1:8080 or [::1]:8080"),
        ("tls.min_version=1.1", "must be one of: 1.2, 1.3"),
        ("enroll.mode=open", "must be one of: automatic, closed"),
        ("log.format=xml", "must be one of: auto, pretty, json"),
        ("keeper.overflow=drop", "must be one of: continue, hold"),
    ] {
        let (key, value) = set.split_once('=').unwrap();
        assert_eq!(refusal(with_set(&[set])), format!("{key} = {value:?} (--set) cannot be used: it {why}."));
    }
    assert!(refusal(with_file("listen = [\"a\"]\n")).contains("is a list, but one value is expected"));
    assert!(refusal(with_file("listen = \n")).contains("is not TOML"));
    assert!(refusal(with_set(&["demo"])).contains("is not of the form KEY=VALUE"));
    let missing = load(&Layers { file: Some("/no/such.toml".into()), ..Layers::default() });
    assert!(refusal(missing).starts_with("/no/such.toml cannot be read"));
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_keys_and_values() {
    for (set, words) in [
        (
            "timing.link_unstable=20s",
            "timing.link_unstable = \"20s\" (--set) must be less than timing.link_dead = \"15s\" (default).",
        ),
        (
            "timing.link_resume_within=15s",
            "timing.link_dead = \"15s\" (default) must be less than timing.link_resume_within = \"15s\" (--set).",
        ),
        (
            "timing.user_ping=1m",
            "timing.user_ping = \"1m\" (--set) must be less than timing.user_dead = \"45s\" (default).",
        ),
        (
            "timing.ssh_auth=15s",
            "timing.ssh_auth = \"15s\" (--set) must be less than timing.ssh_handshake = \"15s\" (default).",
        ),
        (
            "tls.key_file=/k.pem",
            "tls.key_file = \"/k.pem\" (--set) needs tls.certificate_file = \"\" (default), too.",
        ),
        (
            "tls.certificate_file=/c.pem",
            "tls.certificate_file = \"/c.pem\" (--set) needs tls.key_file = \"\" (default), too.",
        ),
        ("tls.check=0s", "tls.check = \"0s\" (--set) must be more than nothing."),
        ("timing.http_header=500ms", "timing.http_header = \"500ms\" (--set) must be at least 1s."),
        ("timing.certificate=6m", "timing.certificate = \"6m\" (--set) must not be more than 5m."),
        (
            "limits.window=2MiB",
            "limits.window = \"2MiB\" (--set) must not be more than limits.ring = \"1MiB\" (default): a viewer",
        ),
        ("name=", "name = \"\" (--set) must have 1 to 64 printable characters."),
        (
            "timing.reattach_backoff=16s",
            "timing.reattach_backoff = \"16s\" (--set) must not be more than timing.reattach_backoff_max = \"15s\" (default).",
        ),
        (
            "timing.adrift_for=25h",
            "timing.adrift_for = \"1day 1h\" (--set) must not be more than keeper.orphaned_for = \"1day\" (default): it",
        ),
        (
            "keeper.ring=128KiB",
            "limits.window = \"256KiB\" (default) must not be more than keeper.ring = \"128KiB\" (--set): a viewer",
        ),
        (
            "timing.idle=1m",
            "timing.warning = \"1m\" (default) must be less than timing.idle = \"1m\" (--set).",
        ),
        (
            "timing.session_max=30s",
            "timing.warning = \"1m\" (default) must be less than timing.session_max = \"30s\" (--set).",
        ),
        ("timing.warning=0s", "timing.warning = \"0s\" (--set) must be more than nothing."),
        ("timing.adrift_for=0s", "timing.adrift_for = \"0s\" (--set) must be more than nothing."),
        ("keeper.ring=0B", "limits.window = \"256KiB\" (default) must not be more than keeper.ring = \"0B\""),
        ("keeper.orphaned_for=0s", "timing.adrift_for = \"1day\" (default) must not be more than keeper"),
        ("keeper.ring=4GiB", "keeper.ring = \"4GiB\" (--set) must be less than 4GiB."),
        ("limits.mailbox=0", "limits.mailbox = 0 (--set) must be more than nothing."),
        ("timing.hello=0s", "timing.hello = \"0s\" (--set) must be more than nothing."),
    ] {
        let text = refusal(with_set(&[set]));
        assert!(text.starts_with(words), "{set}: {text}");
    }
}

#[test]
fn a_keeper_is_told_in_whole_seconds() {
    let text = refusal(with_set(&["timing.adrift_for=500ms", "keeper.orphaned_for=500ms"]));
    assert_eq!(text, "keeper.orphaned_for = \"500ms\" (--set) must be at least 1s.");
}

#[test]
fn a_session_may_be_without_limits_and_with_limits_that_leave_time_for_a_warning() {
    assert!(with_set(&["timing.idle=0s", "timing.session_max=0s", "timing.warning=10h"]).is_ok());
    let config =
        with_set(&["timing.idle=61s", "timing.session_max=8h", "keeper.overflow=hold"]).unwrap().config;
    assert_eq!(config.timing.session_max, Duration::from_secs(8 * 3600));
    assert_eq!(config.keeper.overflow, Overflow::Hold);
}

#[test]
fn a_secret_of_the_environment_is_taken_and_never_shown() {
    let loaded = with_environment(&[("MOORLINE_SSH__STORAGE_KEY", "c2VjcmV0")]).unwrap();
    assert_eq!(loaded.config.ssh.storage_key.reveal(), "c2VjcmV0");
    let told = format!("{}{:?}", loaded.listing(), loaded.config);
    assert!(told.contains("ssh.storage_key = \"(hidden)\"") && !told.contains("c2VjcmV0"), "{told}");
}

#[test]
fn demo_mode_on_another_address_than_loopback_is_refused() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:8080"] {
        let text = refusal(with_set(&["demo=true", &format!("listen={listen}")]));
        assert!(text.contains("demo = true") && text.contains(listen), "{text}");
    }
    for listen in ["127.0.0.1:8080", "127.9.9.9:0", "[::1]:8080"] {
        assert!(with_set(&["demo=true", &format!("listen={listen}")]).is_ok());
    }
}

#[test]
fn a_login_provider_is_asked_where_nobody_can_listen_and_roles_are_given_by_lines_that_can_be_read() {
    let with_provider = |issuer: &str| {
        with_set(&[
            &format!("oidc.issuer={issuer}"),
            "oidc.client_id=moorline",
            "oidc.roles=ops=operator,*=watcher",
        ])
    };
    for issuer in ["https://id.example.org/realms/main", "http://localhost:9000", "http://127.0.0.1:9000/x"] {
        assert!(with_provider(issuer).is_ok(), "{issuer}");
    }
    for issuer in [
        "http://id.example.org",
        "http://127.evil.example",
        "http://localhost:x@evil.example/",
        "http://localhost.evil.example",
        "ftp://localhost",
        "id",
    ] {
        let text = refusal(with_provider(issuer));
        assert_eq!(text, format!("oidc.issuer = {issuer:?} (--set) must be an address of https://."));
    }
    let text = refusal(with_set(&["oidc.issuer=https://id.example.org"]));
    assert_eq!(text, "oidc.issuer = \"https://id.example.org\" (--set) needs oidc.client_id.");
    let text = refusal(with_set(&["oidc.roles=ops=king"]));
    assert!(text.contains("has \"ops=king\", but GROUP=ROLE is expected"), "{text}");
}
