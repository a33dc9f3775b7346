//! What it costs, whom it lets in, and what hostile bytes do.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use moorline_wire::keep::KeeperControl;
use moorline_wire::term::HostFrame;

use crate::device::{Device, create, has, until};

fn status(pid: i32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Beside the program itself, of which all keepers and the agent share one copy in memory.
#[tokio::test]
async fn a_full_ring_and_a_flood_cost_less_than_8_mib_of_its_own() {
    let device = Device::new();
    let done = device.path("done");
    let command = format!("seq 1 3000000; touch {}; sleep 1000", done.display());
    let (broker, _) = device.taken(1, Some(create(&command))).await;
    broker.ends().await;
    until("the flood is over", || done.exists()).await;
    let keeper = device.keeper().expect("a keeper");
    let before = status(keeper, "VmRSS:");
    let (mut broker, taken) = device.taken(2, None).await;
    assert!(taken.oldest > 16 << 20, "{taken:?}");
    broker.say(&device.join(1, "tab", None, 0)).await;
    loop {
        if let moorline_wire::keep::FromKeeper::Frame(_, HostFrame::Snap { .. }) =
            broker.hear().await.unwrap()
        {
            break;
        }
    }
    broker.ends().await;
    let after = status(keeper, "VmRSS:");
    let (private, code) = (status(keeper, "RssAnon:"), status(keeper, "RssFile:"));
    eprintln!("VmRSS {before} kB, after a snapshot {after} kB: private {private} kB, code {code} kB");
    assert!(private < 8 << 10, "{private} kB");
}

#[tokio::test]
async fn the_folder_is_ours_alone_and_one_that_is_open_to_others_is_refused() {
    let device = Device::new();
    let (_broker, _) = device.taken(1, Some(create("cat"))).await;
    assert_eq!(std::fs::metadata(&device.dir).unwrap().permissions().mode() & 0o777, 0o700);
    let open = Device::new();
    std::fs::DirBuilder::new().mode(0o755).create(&open.dir).unwrap();
    std::fs::set_permissions(&open.dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut broker = open.attach();
    broker.say(&open.take(1, Some(create("cat")))).await;
    match broker.hear_control().await {
        Some(KeeperControl::Failed { text }) => assert!(text.contains("chmod 700"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_with_a_long_path_will_do() {
    let device = Device::within(&format!("{0}/{0}/keep", "long".repeat(40)));
    let (mut broker, taken) = device.taken(1, Some(create("echo up; cat"))).await;
    assert!(taken.created);
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    broker.read_output(1, 0, |output| has(output, "up")).await;
    broker.ends().await;
    assert!(!device.taken(2, None).await.1.created);
}

#[tokio::test]
async fn another_user_is_not_heard_even_where_the_folder_lets_them_in() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let device = Device::new();
    let (mut broker, _) = device.taken(1, Some(create("cat"))).await;
    let socket = device.dir.join(format!("{}.sock", device.session));
    for path in [device.path(""), device.dir.clone(), socket.clone()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; \
         connect(S, sockaddr_un($ARGV[0])) or die \"no way in: $!\"; print 'closed' if !sysread(S, my $x, 1)";
    let command = |user: &str| {
        let mut command = tokio::process::Command::new("setpriv");
        // By its name alone: the path of a socket has 107 bytes at most, and TMPDIR may be long.
        command
            .args(["--reuid", user, "--clear-groups", "perl", "-e", script])
            .arg(socket.file_name().unwrap());
        command.current_dir(&device.dir);
        command
    };
    let other = command("65534").output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&other.stdout), "closed", "{other:?}");
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    broker.types(1, 0, "still here\n").await;
    broker.read_output(1, 0, |output| has(output, "still here")).await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_and_nothing_else() {
    let device = Device::new();
    let (broker, _) = device.taken(1, Some(create("echo up; cat"))).await;
    broker.ends().await;
    let garbage: [&[u8]; 5] = [
        &[255; 4096],
        &[0; 64],
        &[0, 0, 0, 2, 9, 9],
        &[0, 0, 0, 3, 2, b'{', b'x'],
        &[0, 0, 0, 9, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    ];
    for (bytes, epoch) in garbage.into_iter().zip(2..) {
        let (mut hostile, _) = device.taken(epoch, None).await;
        hostile.say_raw(bytes).await;
        while hostile.hear().await.is_some() {}
    }
    let (mut broker, _) = device.taken(100, None).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    broker.read_output(1, 0, |output| has(output, "up")).await;
}

#[tokio::test]
async fn a_program_that_reads_no_input_does_not_hold_up_its_output() {
    let device = Device::new();
    let command = "stty raw -echo; echo up; sleep 0; seq 1 20000; echo end; sleep 1000";
    let (mut broker, _) = device.taken(1, Some(create(command))).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    let typed = "x".repeat(8192);
    for piece in 0..12 {
        broker.types(1, piece * 8192, &typed).await;
    }
    broker.read_output(1, 0, |output| has(output, "end\n")).await;
}

#[tokio::test]
async fn an_attach_goes_when_its_connection_does_also_while_nobody_reads_it() {
    let device = Device::new();
    let (mut broker, _) = device.taken(1, Some(create("stty raw; yes"))).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    // The pipe is full of what nobody reads.
    broker.ends().await;
    assert_eq!(device.keepers().len(), 1);
}
