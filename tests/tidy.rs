//! Rules about the source that no compiler checks: most of them say what a part does not know.
//! Each failure names the file, the line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file: its path from the root, and its lines.
struct Source {
    path: String,
    lines: Vec<String>,
}

/// Folders that are not ours or were built.
const NOT_OURS: [&str; 6] = ["target", ".git", "node_modules", "dist", "var", ".vite"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a folder of their own").to_owned()
}

/// Every text file of the repository below `under` whose name ends with one of the endings.
fn sources(under: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(under), endings, &mut found);
    assert!(!found.is_empty(), "no file of {endings:?} below {under:?}: has it moved?");
    found
}

fn collect(path: &Path, endings: &[&str], found: &mut Vec<Source>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // In a further worktree `.git` is a file that says where the repository is.
    if NOT_OURS.contains(&&*name) {
        return;
    }
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).expect("a folder can be listed").flatten().collect();
        entries.sort_by_key(fs::DirEntry::path);
        entries.iter().for_each(|entry| collect(&entry.path(), endings, found));
    } else if endings.iter().any(|ending| name.ends_with(ending)) {
        // Pictures and the like are not text.
        let Ok(text) = fs::read_to_string(path) else { return };
        let path = path.strip_prefix(root()).expect("it is below the root").display().to_string();
        found.push(Source { path, lines: text.lines().map(str::to_owned).collect() });
    }
}

impl Source {
    /// The lines that run in the product, with their numbers: no comments, no strings' insides,
    /// nothing after the first `#[cfg(test)]` that begins a module.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        let test = self.lines.iter().zip(self.lines.iter().skip(1));
        let end =
            test.clone().position(|(line, next)| line.trim() == "#[cfg(test)]" && next.contains("mod "));
        let end = end.unwrap_or(self.lines.len());
        self.lines[..end].iter().enumerate().filter_map(|(index, line)| {
            let code = without_comment_and_strings(line);
            (!code.trim().is_empty()).then_some((index + 1, code))
        })
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.ends_with("tests.rs")
            || self.path.contains("/testkit")
            || self.path.contains("/examples/")
    }
}

fn without_comment_and_strings(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if in_string => drop(chars.next()),
            '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if !in_string => code.push(char),
            _ => {}
        }
    }
    code
}

/// Whether the code has this word, and not as a part of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    let part = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    code.match_indices(word).any(|(at, _)| {
        let before = word.starts_with(char::is_alphanumeric) && part(code[..at].chars().next_back());
        let after = word.ends_with(char::is_alphanumeric) && part(code[at + word.len()..].chars().next());
        !before && !after
    })
}

/// Fails with every place where one of the words stands in the product's code of these files.
fn forbid(rule: &str, files: &[Source], words: &[&str]) {
    let mut places = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        for (number, code) in file.code() {
            for word in words.iter().filter(|word| has_word(&code, word)) {
                places.push(format!("{}:{number}: `{word}`", file.path));
            }
        }
    }
    assert!(places.is_empty(), "{rule}\n{}", places.join("\n"));
}

fn rust(under: &str) -> Vec<Source> {
    sources(under, &[".rs"])
}

#[test]
fn wire_and_every_machine_know_no_runtime_socket_sql_or_clock() {
    let outside = [
        "actix",
        "actix_web",
        "actix_rt",
        "tokio",
        "sqlx",
        "std::net",
        "std::fs",
        "std::thread",
        "TcpStream",
        "UdpSocket",
        "Instant::now",
        "SystemTime",
        "russh",
    ];
    forbid("wire is pure", &rust("wire/src"), &outside);
    let machines: Vec<_> = rust("broker/src")
        .into_iter()
        .chain(rust("agent/src"))
        .filter(|file| file.path.ends_with("/state.rs") || file.path.contains("/state/"))
        .collect();
    assert!(machines.len() >= 3, "device, session and user each decide in a state.rs");
    forbid("a state.rs is pure", &machines, &outside);
    let access = rust("broker/src/access");
    forbid("who may do what is decided by pure functions", &access, &outside);
    forbid("they are told the time", &access, &["Timestamp::now", "crate::clock", "crate::store"]);
    // The policy of restarts is in supervise.rs; what it may not do is wait or ask the time by itself.
    let supervise: Vec<_> =
        rust("broker/src").into_iter().filter(|file| file.path.contains("src/supervise")).collect();
    forbid(
        "supervise.rs knows no socket, SQL or clock",
        &supervise,
        &["sqlx", "std::net", "TcpStream", "Instant::now", "SystemTime", "time::sleep"],
    );
}

#[test]
fn wire_io_knows_no_websocket_and_no_actor() {
    forbid("wire/io is for both ends", &rust("wire/io"), &["actix", "tungstenite", "actix_web", "russh"]);
    forbid(
        "wire/screen is for both ends",
        &rust("wire/screen"),
        &["actix", "tokio", "std::net", "Instant::now"],
    );
}

#[test]
fn device_knows_no_sessions_and_session_knows_no_http() {
    forbid(
        "device knows no sessions",
        &rust("broker/src/device"),
        &["crate::session", "SessionId", "SshSession", "crate::user"],
    );
    forbid(
        "session knows no HTTP",
        &rust("broker/src/session"),
        &["actix_web", "crate::http", "HttpRequest", "HttpResponse"],
    );
    forbid(
        "the store knows no actors",
        &rust("broker/src/store"),
        &["actix", "actix_web", "crate::session::", "crate::device::", "crate::http"],
    );
}

#[test]
fn nobody_outside_a_folder_names_its_actor() {
    for (folder, actor) in
        [("device", "DeviceConnection"), ("session", "SshSession"), ("user", "UserConnection")]
    {
        let outside: Vec<_> = rust("broker/src")
            .into_iter()
            .filter(|file| !file.path.starts_with(&format!("broker/src/{folder}/")))
            // Where the kinds of actors are listed, for metrics and logs.
            .filter(|file| file.path != "broker/src/actor.rs")
            .collect();
        forbid(&format!("only broker/src/{folder} names {actor}"), &outside, &[actor]);
    }
}

#[test]
fn only_the_clock_waits_or_asks_the_time() {
    let times = [
        "time::sleep",
        "sleep",
        "time::timeout",
        "Instant::now",
        "SystemTime::now",
        "thread::sleep",
        "Timestamp::now",
        "Zoned::now",
    ];
    for crate_ in ["broker/src", "agent/src"] {
        let files: Vec<_> =
            rust(crate_).into_iter().filter(|file| !file.path.ends_with("/clock.rs")).collect();
        forbid("only clock.rs knows the time", &files, &times);
    }
}

#[test]
fn only_one_file_knows_actix_web_actors() {
    let files: Vec<_> =
        rust("broker/src").into_iter().filter(|file| !file.path.starts_with("broker/src/socket")).collect();
    forbid(
        "socket.rs alone, so that the crate can be replaced",
        &files,
        &["actix_web_actors", "WebsocketContext"],
    );
}

#[test]
fn no_task_is_spawned_without_an_owner() {
    let mut places = Vec::new();
    for file in ["broker/src", "agent/src", "wire"].into_iter().flat_map(rust).filter(|file| !file.is_test())
    {
        let mut statement_begins = true;
        for (number, code) in file.code() {
            let code = code.trim();
            let spawns = [
                "tokio::spawn(",
                "task::spawn(",
                "spawn_local(",
                "actix_rt::spawn(",
                "actix::spawn(",
                "thread::spawn(",
            ];
            let explained = file.lines[number.saturating_sub(3)..number - 1]
                .iter()
                .any(|line| line.contains("// Owner: "));
            if statement_begins
                && !explained
                && spawns
                    .iter()
                    .any(|spawn| code.starts_with(spawn) || code.starts_with(&format!("tokio::{spawn}")))
            {
                places.push(format!("{}:{number}: {code}", file.path));
            }
            statement_begins = code.ends_with([';', '{', '}']) || code.ends_with("=> {");
        }
    }
    assert!(
        places.is_empty(),
        "keep the handle and cancel by dropping it, or say in a comment (`// Owner: `) what ends it:\n{}",
        places.join("\n")
    );
}

#[test]
fn no_unwrap_in_the_product() {
    for crate_ in ["broker/src", "agent/src", "wire/src", "wire/io", "wire/screen"] {
        forbid(
            "expect(\"why it cannot fail\") or `?`",
            &rust(crate_),
            &[".unwrap()", "todo!", "unimplemented!", "dbg!"],
        );
    }
}

#[test]
fn files_stay_under_600_lines_and_functions_under_70() {
    let mut places = Vec::new();
    for file in sources(".", &[".rs", ".ts", ".tsx", ".mjs", ".css"]) {
        if file.lines.len() > 600 {
            places.push(format!("{}: {} lines", file.path, file.lines.len()));
        }
        if file.path.ends_with(".rs") {
            long_functions(&file, &mut places);
        }
    }
    assert!(places.is_empty(), "split them where a second noun begins:\n{}", places.join("\n"));
}

/// A function ends, as rustfmt writes it, at the first closing brace with the indentation of its head.
fn long_functions(file: &Source, places: &mut Vec<String>) {
    let mut open: Option<(usize, usize)> = None;
    for (index, line) in file.lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        let words: Vec<_> = head.split_whitespace().take(5).collect();
        let is_head = words.contains(&"fn")
            && !head.starts_with("//")
            && !head.contains('"')
            && !head.ends_with([';', '}']);
        match open {
            None if is_head => open = Some((index, indent)),
            Some((start, at)) if indent == at && head.starts_with('}') => {
                if index - start + 1 > 70 {
                    places.push(format!(
                        "{}:{}: a function of {} lines",
                        file.path,
                        start + 1,
                        index - start + 1
                    ));
                }
                open = None;
            }
            _ => {}
        }
    }
}

#[test]
fn no_test_is_switched_off() {
    let mut places = Vec::new();
    let marks = [
        ["#[ign", "ore"].concat(),
        ["test.sk", "ip("].concat(),
        ["it.sk", "ip("].concat(),
        ["test.to", "do("].concat(),
        ["test.on", "ly("].concat(),
    ];
    for file in sources(".", &[".rs", ".ts", ".tsx", ".mjs"]) {
        for (index, line) in file.lines.iter().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                places.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    assert!(places.is_empty(), "{}", places.join("\n"));
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    // Put together here, so that this file does not find itself.
    let words: Vec<String> = [
        ["/wo", "rk/"],
        ["/fa", "rm/"],
        ["crates.io/", "api"],
        ["registry.npm", "js"],
        ["pypi.org/", "simple"],
        ["deb.debian", ".org"],
        ["/tmp/", "team"],
        ["/tmp/", "target"],
        ["/ho", "me/user"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let mut places = Vec::new();
    for file in sources(".", &[""]) {
        if file.path.ends_with(".lock") || file.path.ends_with("package-lock.json") {
            continue;
        }
        for (index, line) in file.lines.iter().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                places.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    assert!(places.is_empty(), "{}", places.join("\n"));
}

#[test]
fn no_private_key_is_in_the_repository() {
    let marks = [
        ["BEGIN OPENSSH PRIV", "ATE KEY"].concat(),
        ["BEGIN PRIV", "ATE KEY"].concat(),
        ["BEGIN RSA PRIV", "ATE KEY"].concat(),
    ];
    let with_keys: Vec<_> = sources(".", &[""])
        .into_iter()
        .filter(|file| file.lines.iter().any(|line| marks.iter().any(|mark| line.contains(mark.as_str()))))
        .map(|file| file.path)
        .collect();
    assert!(with_keys.is_empty(), "{with_keys:?}");
}

#[test]
fn every_golden_file_is_read_by_both_implementations() {
    let readers = [
        ("wire/golden/link", "wire/src/link", ".rs"),
        ("wire/golden/term", "wire/src/term", ".rs"),
        ("wire/golden/term", "web/src/link", ".ts"),
    ];
    for (golden, reader, ending) in readers {
        let frames = fs::read_dir(root().join(golden)).map(Iterator::count).unwrap_or(0);
        assert!(frames > 0, "{golden} has golden frames");
        let name = golden.rsplit('/').next().expect("a path has an end");
        let reads = |file: &Source| {
            file.lines
                .iter()
                .any(|line| line.contains("golden") && (line.contains(name) || line.contains("join")))
        };
        assert!(sources(reader, &[ending]).iter().any(reads), "nothing in {reader} reads {golden}");
    }
}

#[test]
fn the_make_targets_that_people_are_told_of_are_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("there is a Makefile");
    for target in ["help", "up", "test", "check", "chaos", "bench", "load", "counts", "dev", "clean"] {
        assert!(
            makefile.lines().any(|line| line.starts_with(&format!("{target}: ## "))),
            "make {target} is missing or unexplained"
        );
    }
}
