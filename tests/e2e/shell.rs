//! What a person gets: a shell, as if they sat before the device.

use std::time::Duration;

use anyhow::{Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::wait::SOON;
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, World, on_both};
use moorline_wire::Exit;
use moorline_wire::term::frame::Step;
use serde_json::json;

on_both! {
    a_shell_shows_its_prompt_and_runs_what_is_typed,
    the_steps_of_the_setup_are_told_in_order,
    an_exit_status_reaches_the_person_and_the_list,
    a_signal_that_ends_the_shell_is_named,
    the_last_of_many_resizes_reaches_the_program,
    a_resize_in_the_middle_of_the_setup_is_not_lost,
    the_shell_knows_what_terminal_it_has,
    every_byte_value_comes_through_as_it_is,
    a_command_runs_without_a_shell_of_its_own_and_gives_its_status,
    a_program_that_reads_nothing_and_writes_much_does_not_lock_up_under_a_paste,
    what_is_typed_before_the_prompt_is_not_lost,
    nothing_typed_or_shown_is_in_any_log_at_any_level,
    the_shell_runs_as_the_login_in_its_home,
}

async fn a_shell_shows_its_prompt_and_runs_what_is_typed(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    assert_eq!(terminal.runs("echo $((6*7)) übermäßig").await?, ("42 übermäßig\n".into(), 0));
    assert_eq!(terminal.runs("false").await?, (String::new(), 1));
    let session = world.broker.session(&terminal.session).await?;
    assert_eq!(
        (&session["state"], &session["device"], &session["viewers"]),
        (&json!("live"), &json!(world.device.id), &json!(1))
    );
    assert_eq!(world.broker.device(&world.device.id).await?["sessions"], 1);
    Ok(())
}

async fn the_steps_of_the_setup_are_told_in_order(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.live().await?;
    let session = world.broker.session(&terminal.session).await?;
    let all = [Step::Broker, Step::Device, Step::HostKey, Step::Login, Step::Shell];
    assert_eq!(terminal.steps(), all);
    assert_eq!(session["steps"].as_array().map(Vec::len), Some(all.len()), "{session}");
    Ok(())
}

async fn an_exit_status_reaches_the_person_and_the_list(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    terminal.types("exit 7\r");
    assert_eq!(terminal.ends().await?.exit, Some(Exit::Status(7)));
    // RFC 6455 section 7.4.1: a normal closure.
    assert_eq!(terminal.closes().await?, 1000);
    let ending = world.broker.ending(&terminal.session).await?;
    assert_eq!((&ending["code"], &ending["exit"]), (&json!("exited"), &json!({ "status": 7 })));
    let ended = world.broker.get("/api/v1/sessions?state=ended").await?;
    assert_eq!(ended["sessions"][0]["id"], *terminal.session);
    assert_eq!(world.broker.get("/api/v1/sessions?state=live").await?["sessions"], json!([]));
    assert!(world.broker.metric("moorline_sessions_ended_total", &["exited"]).await? >= 1.0);
    Ok(())
}

async fn a_signal_that_ends_the_shell_is_named(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    terminal.types("kill -KILL $$\r");
    assert_eq!(terminal.ends().await?.exit, Some(Exit::Signal("KILL".into())));
    Ok(())
}

async fn the_last_of_many_resizes_reaches_the_program(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    assert_eq!(terminal.runs("stty size").await?.0, "24 80\n");
    // The program itself says each size that it is told; it is asked for the last one only.
    terminal.types("trap 'printf \"<%s>\" \"$(stty size)\"' WINCH\r");
    for columns in 81..=131 {
        terminal.resizes(columns, 43);
    }
    terminal.resizes(132, 43);
    // bash runs a trap when a command ends: make one end now and then until it has.
    moorline_tests::wait::eventually(SOON, "the last size", async || {
        let (printed, _) = terminal.runs("stty size").await?;
        ensure!(printed.contains("43 132"), "it is {printed:?}");
        Ok(())
    })
    .await
}

async fn a_resize_in_the_middle_of_the_setup_is_not_lost(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.resizes(101, 37);
    terminal.ready().await?;
    moorline_tests::wait::eventually(SOON, "the size", async || {
        let (printed, _) = terminal.runs("stty size").await?;
        ensure!(printed == "37 101\n", "it is {printed:?}");
        Ok(())
    })
    .await
}

async fn the_shell_knows_what_terminal_it_has(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    assert_eq!(terminal.runs("echo $TERM $COLORTERM").await?.0, "xterm-256color truecolor\n");
    assert_eq!(terminal.runs("tty | tr -d 0-9").await?.0, "/dev/pts/\n");
    assert_eq!(terminal.runs("stty -a | grep -c ' echo '").await?.0, "1\n");
    Ok(())
}

async fn every_byte_value_comes_through_as_it_is(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    let bytes: Vec<u8> = (0..1 << 20).map(|_| rand::random()).collect();
    let file = stage.path("bytes");
    std::fs::write(&file, &bytes)?;
    terminal.types(&format!(
        "stty raw -echo; printf '%s%s' BEG IN; cat '{}'; printf '%s%s' FIN IS; stty sane\r",
        file.display()
    ));
    terminal.shows("BEGIN").await?;
    let shown = terminal.find(SOON, b"FINIS").await?;
    ensure!(shown == bytes, "{} bytes became {}", bytes.len(), shown.len());
    Ok(())
}

async fn a_command_runs_without_a_shell_of_its_own_and_gives_its_status(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24, "command": "stty size; exit 3" });
    let terminal = Terminal::open_as(&world.broker, body).await?;
    terminal.shows("24 80").await?;
    assert_eq!(terminal.ends().await?.exit, Some(Exit::Status(3)));
    assert_eq!(world.broker.session(&terminal.session).await?["command"], "stty size; exit 3");
    Ok(())
}

async fn a_program_that_reads_nothing_and_writes_much_does_not_lock_up_under_a_paste(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    terminal
        .types("stty raw -echo; head -c 100000000 /dev/zero | tr '\\0' x; printf '%s%s' FIN IS; stty sane\r");
    terminal.shows("xxxx").await?;
    terminal.pastes(vec![b'y'; 10_000_000]);
    terminal.shows_within(Duration::from_secs(120), "FINIS").await?;
    ensure!(terminal.shown() > 100_000_000, "only {} bytes came", terminal.shown());
    assert_eq!(terminal.losses(), (0, 0));
    world.broker.end(&terminal.session, "enough").await?;
    Ok(())
}

async fn what_is_typed_before_the_prompt_is_not_lost(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.types("echo $((1000*1000+7))\r");
    terminal.shows("1000007").await
}

async fn nothing_typed_or_shown_is_in_any_log_at_any_level(stage: &Stage, kind: Kind) -> Result<()> {
    let broker = Broker::start_with(stage, free_port(), &[("log.filter", "trace")]).await?;
    let device =
        Device::start_with(stage, &broker, "device", kind, broker.address, &[("log.filter", "trace")])
            .await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    let (typed, pasted, shown) = (stage.canary(), stage.canary(), stage.canary());
    std::fs::write(stage.path("shown"), &shown)?;
    terminal.runs(&format!("true {typed}")).await?;
    terminal.pastes(format!("true {pasted}"));
    terminal.types("\r");
    assert_eq!(terminal.runs(&format!("cat '{}'", stage.path("shown").display())).await?.0, shown);
    terminal.types(&format!("exit # {typed}\r"));
    terminal.ends().await?;
    // What is below INFO is really written, or this would prove nothing; of libraries it never is.
    for log in ["broker", "device"].map(|name| stage.log(name)) {
        ensure!(log.contains("\"DEBUG\""), "nothing below INFO was logged");
        ensure!(!log.contains("\"TRACE\""), "a library wrote down what it carries");
    }
    Ok(())
}

async fn the_shell_runs_as_the_login_in_its_home(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid())?.expect("whoever runs the tests has a name");
    let wanted = format!("{} {} {}\n", me.name, me.dir.display(), me.dir.display());
    assert_eq!(terminal.runs("echo $(id -un) $HOME $PWD").await?.0, wanted);
    Ok(())
}
