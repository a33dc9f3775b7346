use super::*;

#[tokio::test]
async fn a_command_runs_with_its_output_its_errors_and_its_exit_status() {
    let stage = Stage::new().await;
    let out = stage.run(&[], "echo out; echo err >&2; exit 42").await;
    assert_eq!((text(&out.stdout).as_str(), text(&out.stderr).as_str()), ("out\n", "err\n"));
    assert_eq!(out.status.code(), Some(42));
    assert_eq!(stage.run(&[], "true").await.status.code(), Some(0));
    assert_eq!(stage.run(&[], "no-such-program-here").await.status.code(), Some(127));
}

#[tokio::test]
async fn the_end_of_the_input_is_the_end_of_the_programs_input() {
    let stage = Stage::new().await;
    let out = stage.run_with_input(&[], "cat; echo done", b"one\ntwo\n").await;
    assert_eq!(text(&out.stdout), "one\ntwo\ndone\n");
}

#[tokio::test]
async fn a_closed_output_is_told_before_the_program_ends() {
    let stage = Stage::new().await;
    let out = stage.run(&[], "echo x; exec >&- 2>&-; sleep 0.2; exit 5").await;
    assert_eq!((text(&out.stdout).as_str(), out.status.code()), ("x\n", Some(5)));
}

#[tokio::test]
async fn an_ending_by_a_signal_is_told_with_its_name() {
    let stage = Stage::new().await;
    let out = stage.run(&["-o", "LogLevel=DEBUG2"], "kill -USR2 $$").await;
    assert!(text(&out.stderr).contains("exit-signal"), "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(255));
}

#[tokio::test]
async fn the_environment_is_the_logins_own_with_what_the_client_may_set() {
    let stage = Stage::new().await;
    let options = ["-o", "SetEnv=LC_TEST=täst COLORTERM=truecolor LD_PRELOAD=/evil FOO=bar"];
    let out = text(&stage.run(&options, "env").await.stdout);
    let variable =
        |name: &str| out.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
    assert_eq!(variable("LC_TEST").as_deref(), Some("täst"));
    assert_eq!(variable("COLORTERM").as_deref(), Some("truecolor"));
    for name in ["LD_PRELOAD", "FOO", "SSH_CONNECTION", "TERM", "CARGO_MANIFEST_DIR", "NEXTEST"] {
        assert_eq!(variable(name), None, "{name} came through");
    }
    let own = Login::own().unwrap();
    assert_eq!(variable("USER").as_deref(), Some(own.name.as_str()));
    assert_eq!(variable("LOGNAME").as_deref(), Some(own.name.as_str()));
    assert_eq!(variable("HOME").as_deref(), own.home.to_str());
    assert_eq!(variable("PWD").as_deref(), own.home.to_str());
    assert_eq!(variable("SHELL").as_deref(), own.shell.to_str());
    assert!(variable("PATH").is_some_and(|path| path.contains("/usr/bin")));
}

#[tokio::test]
async fn a_terminal_has_its_kind_its_size_and_a_login_shell() {
    let stage = Stage::with(|settings| settings.embedded.shell = "/bin/bash".into()).await;
    let mut ssh = stage.ssh(&["-tt"]);
    ssh.env("TERM", "xterm-256color");
    let script = b"PS1=; stty -echo size; echo \"[$TERM] [$0] [$(tty)]\"; shopt -q login_shell && echo login; exit 3\n";
    let out = feed(ssh, script).await;
    let said = text(&out.stdout);
    for part in ["0 0", "[xterm-256color] [-bash] [/dev/pts/", "login"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(out.status.code(), Some(3));
}

#[tokio::test]
async fn all_that_was_said_before_the_end_arrives_though_the_terminal_is_still_held() {
    let stage = Stage::new().await;
    for _ in 0..5 {
        let out = stage.run(&["-tt"], "seq 1 20000; sleep 100 & disown; exit 0").await;
        let said = text(&out.stdout);
        assert!(said.ends_with("19999\r\n20000\r\n"), "{:?}", &said[said.len().saturating_sub(50)..]);
        assert_eq!(said.lines().count(), 20_000);
    }
}

#[tokio::test]
async fn several_sessions_share_a_connection_up_to_the_limit() {
    let stage = Stage::with(|settings| settings.limits.channels = 3).await;
    // Not in the stage's folder: the path of a socket has 107 bytes at most (unix(7)), of which ssh
    // wants 17 for itself, and TMPDIR may be long.
    let short = tempfile::Builder::new().prefix("m").tempdir_in("/tmp").unwrap();
    let control = short.path().join("control");
    let path = format!("ControlPath={}", control.display());
    let mut master = stage.ssh(&["-M", "-N", "-o", &path]).spawn().unwrap();
    until("the shared connection stands", || control.exists()).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let mut session =
            stage.ssh(&["-o", &path]).arg("echo up; cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 3];
        let read = tokio::io::AsyncReadExt::read_exact(session.stdout.as_mut().unwrap(), &mut said);
        clock::within(PATIENCE, "a session", read).await.unwrap().unwrap();
        sessions.push(session);
    }
    // Over the shared connection or not at all.
    let only_shared = ["-o", &path, "-o", "ControlMaster=no", "-o", "ProxyCommand=false"];
    assert!(!stage.run(&only_shared, "echo in").await.status.success(), "a fourth was let in");
    // Its input is at an end, so it ends.
    drop(sessions.pop());
    let again = async {
        while !stage.run(&only_shared, "true").await.status.success() {
            clock::pass(Duration::from_millis(20)).await;
        }
    };
    clock::within(PATIENCE, "a place after one has left", again).await.unwrap();
    master.kill().await.unwrap();
}

#[tokio::test]
async fn nothing_is_forwarded_and_there_is_no_subsystem() {
    let stage = Stage::new().await;
    let out = stage.run(&["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], "echo in").await;
    assert_eq!(text(&out.stdout), "", "a remote forward was granted");
    let mut ssh = stage.ssh(&["-W", "127.0.0.1:1"]);
    let out = ssh.output().await.unwrap();
    assert!(
        !out.status.success() && text(&out.stderr).contains("forwarding failed"),
        "{}",
        text(&out.stderr)
    );
    let out = stage.run(&["-s"], "sftp").await;
    assert!(!out.status.success() && text(&out.stderr).contains("subsystem"), "{}", text(&out.stderr));
    let out = stage.run(&["-A"], "echo [$SSH_AUTH_SOCK]").await;
    assert_eq!(text(&out.stdout), "[]\n");
}

#[tokio::test]
async fn a_shell_that_cannot_be_started_fails_with_a_sentence_and_harms_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let shell = dir.path().join("shell");
    std::fs::copy("/bin/sh", &shell).unwrap();
    let stage = Stage::with(|settings| settings.embedded.shell = shell.to_str().unwrap().into()).await;
    assert_eq!(text(&stage.run(&[], "echo in").await.stdout), "in\n");
    std::fs::remove_file(&shell).unwrap();
    let out = stage.run(&[], "echo in").await;
    assert!(text(&out.stderr).contains("exec request failed"), "{}", text(&out.stderr));
    std::fs::copy("/bin/sh", &shell).unwrap();
    assert_eq!(text(&stage.run(&[], "echo in").await.stdout), "in\n");
}

/// As root a session is wholly its login's: user, groups, terminal, and no way back.
#[tokio::test]
async fn a_session_of_another_user_is_wholly_that_users() {
    use super::super::program::{Ends, Order, Program, Terminal};
    use super::super::{pty::Size, undertaker::Undertaker};
    use nix::unistd::{Gid, Uid, geteuid};
    if !geteuid().is_root() {
        return;
    }
    let groups = vec![Gid::from_raw(65_534), Gid::from_raw(4242)];
    let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    let login =
        Login { name: "nobody".into(), uid, gid, groups, home: "/no/such".into(), shell: "/bin/sh".into() };
    let terminal = Terminal {
        term: "xterm".into(),
        size: Size::from_ssh(80, 24, 0, 0),
        modes: vec![(russh::Pty::ECHO, 0)],
    };
    let script = b"id -u; id -ru; id -g; id -G; pwd; stat -c %u $(tty); echo x > /dev/tty; ls -1 /proc/self/fd | wc -l; cat /proc/self/status | grep -c 'CapEff:.*0000000000000000'; exec sleep 1000";
    let order = Order {
        login: &login,
        command: Some(script),
        original: None,
        terminal: Some(&terminal),
        environment: &[],
    };
    let (undertaker, burials) =
        Undertaker::new(Duration::from_secs(1), tokio_util::sync::CancellationToken::new());
    let (program, ends) = Program::start(&order, &undertaker).unwrap();
    let Ends::Terminal(end) = ends else { panic!("no terminal") };
    let mut said = Vec::with_capacity(4096);
    let read = async {
        while said.iter().filter(|byte| **byte == b'\n').count() < 9 {
            end.read(&mut said).await.unwrap();
        }
    };
    clock::within(PATIENCE, "what it says", read).await.unwrap();
    // Standard input, output and error, and the folder that ls reads: nothing of ours was inherited.
    assert_eq!(text(&said), "65534\r\n65534\r\n65534\r\n65534 4242\r\n/\r\n65534\r\nx\r\n4\r\n1\r\n");
    drop((program, end, undertaker));
    clock::within(PATIENCE, "its end", burials).await.unwrap();
}
