use super::*;

/// The processes that carry this word in their command line, and how many of them are zombies.
fn with_word(word: &str) -> usize {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = numbers.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| text(line).contains(word) && !line.starts_with(b"ssh\0")).count()
}

fn zombies_of_ours() -> usize {
    ours().filter(|state| state == "Z").count()
}

/// How many processes we have started that are not reaped.
pub(super) fn children() -> usize {
    ours().count()
}

/// The states of our children.
fn ours() -> impl Iterator<Item = String> {
    let own = std::process::id().to_string();
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = numbers.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let fields = stats.filter_map(|stat| {
        let rest = stat.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace().map(str::to_owned);
        Some((fields.next()?, fields.next()?))
    });
    fields.filter(move |(_, parent)| *parent == own).map(|(state, _)| state)
}

/// How many pseudo-terminals this process holds.
fn terminals() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|path| path.ends_with("ptmx"))
        .count()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_client_killed_in_the_middle_leaves_no_process_no_zombie_and_no_terminal() {
    let stage = Stage::new().await;
    for options in [&["-tt"][..], &[][..]] {
        let word = format!("{}", 777_000_000 + std::process::id());
        let command = format!("trap '' HUP; sleep {word} & (trap '' HUP; sleep {word}) & sleep {word}");
        let mut client = stage.ssh(options).arg(&command).spawn().unwrap();
        until("the session runs", || with_word(&format!("sleep\0{word}")) == 3).await;
        client.kill().await.unwrap();
        until("the processes are gone", || with_word(&word) == 0).await;
        until("no zombie and no terminal is left", || zombies_of_ours() == 0 && terminals() == 0).await;
    }
}

#[tokio::test]
async fn a_background_job_of_a_shell_that_exits_by_itself_lives_on() {
    let stage = Stage::new().await;
    let word = format!("{}", 888_000_000 + std::process::id());
    let command = format!("setsid sleep 0; nohup sleep {word} >/dev/null 2>&1 & echo $!");
    let out = stage.run(&[], &command).await;
    assert!(out.status.success());
    clock::pass(Duration::from_millis(300)).await;
    assert_eq!(with_word(&word), 1, "it was ended");
    let pid = text(&out.stdout).trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn closing_the_server_ends_all_sessions_and_then_its_work_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let host_key = StateDir::open(dir.path()).unwrap().host_key().unwrap();
    let (sshd, burials) = EmbeddedSshd::new(
        host_key,
        UserCa::default(),
        &settings.embedded,
        &settings.keeper,
        &settings.limits,
        &settings.timing,
        crate::metrics::Metrics::default(),
    );
    let (near, far) = tokio::io::duplex(1024);
    let serving = {
        let sshd = sshd.clone();
        tokio::spawn(async move { sshd.serve(near).await })
    };
    sshd.close();
    serving.await.unwrap();
    drop((sshd, far));
    clock::within(PATIENCE, "the work", burials).await.unwrap();
}

#[tokio::test]
async fn a_hundred_sessions_leave_everything_as_it_was() {
    let stage = Stage::new().await;
    stage.run(&[], "true").await;
    let before = (descriptors(), tokio::runtime::Handle::current().metrics().num_alive_tasks());
    for round in 0..10 {
        let mut clients = JoinSet::new();
        for number in 0..10 {
            let options: &[&str] = if number % 2 == 0 { &["-tt"] } else { &[] };
            let mut ssh = stage.ssh(options);
            ssh.arg(format!("echo {round}-{number}"));
            clients.spawn(async move { ssh.output().await.unwrap().status.success() });
        }
        assert!(clients.join_all().await.into_iter().all(|success| success));
    }
    until("descriptors and tasks are back", || {
        (descriptors(), tokio::runtime::Handle::current().metrics().num_alive_tasks()) <= before
    })
    .await;
    assert_eq!(zombies_of_ours(), 0);
}
