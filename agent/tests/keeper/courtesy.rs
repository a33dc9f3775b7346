//! Who floods gives way to who types.

use std::time::Duration;

use moorline_agent::clock;

use crate::device::{Device, create, has, until};

/// No key is waited for longer, and no other deadline of a keeper is so near for long.
const SHORT: Duration = Duration::from_micros(500);

/// What is left of the keeper's one alarm, if it is set (proc_pid_fdinfo(5)).
fn alarm(keeper: i32) -> Option<Duration> {
    let entries = std::fs::read_dir(format!("/proc/{keeper}/fdinfo")).ok()?.flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let left = texts.filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("it_value: ("))?;
        let (seconds, nanoseconds) = line.strip_suffix(')')?.split_once(", ")?;
        Some(Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?))
    });
    left.filter(|left| !left.is_zero()).min()
}

#[tokio::test]
async fn a_flooded_keeper_waits_again_and_again_while_somebody_types_to_another_one() {
    let (flooded, typed) = (Device::new(), Device::new());
    let (_reads_nothing, _) = flooded.taken(1, Some(create("stty raw; yes"))).await;
    let (mut broker, _) = typed.taken(1, Some(create("stty raw -echo; echo up; cat"))).await;
    broker.say(&typed.join(1, "tab", Some(0), 0)).await;
    broker.read_output(1, 0, |output| has(output, "up\n")).await;
    until("the flooded keeper is there", || flooded.keeper().is_some()).await;
    let keeper = flooded.keeper().expect("it is there");
    let seen = async {
        let (mut key, mut waits) = (0, 0);
        while waits < 20 {
            broker.types(1, key, "x").await;
            broker.read_output(1, 3 + key, |output| !output.is_empty()).await;
            key += 1;
            waits += (0..20).filter(|_| alarm(keeper).is_some_and(|left| left <= SHORT)).count();
        }
    };
    clock::within(Duration::from_secs(60), "it waits", seen).await.unwrap();
}
