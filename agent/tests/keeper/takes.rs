//! Whose session it is.

use moorline_wire::keep::KeeperControl;

use crate::device::{Device, create, has, until};

#[tokio::test]
async fn without_create_there_is_none() {
    let device = Device::new();
    let mut attached = device.attach();
    attached.say(&device.take(1, None)).await;
    assert_eq!(attached.hear_control().await, Some(KeeperControl::Absent));
    assert!(attached.hear().await.is_none());
    assert!(attached.child.wait().await.unwrap().success());
    assert_eq!(device.files(), 0);
}

#[tokio::test]
async fn a_second_broker_wins_and_the_first_is_told_and_types_no_more() {
    let device = Device::new();
    let (mut first, taken) = device.taken(5, Some(create("stty -echo; echo up; cat"))).await;
    assert!(taken.created);
    first.say(&device.join(1, "tab", Some(0), 0)).await;
    first.read_output(1, 0, |output| has(output, "up")).await;
    let (mut second, taken) = device.taken(9, Some(create("echo another shell"))).await;
    assert!(!taken.created);
    first.types(1, 0, "from the first\n").await;
    assert_eq!(first.hear_control().await, Some(KeeperControl::Superseded { epoch: 9 }));
    assert!(first.hear().await.is_none());
    // The number is the second broker's own: it may be the same.
    second.say(&device.join(1, "other", Some(0), 0)).await;
    second.types(1, 0, "from the second\n").await;
    let output = second.read_output(1, 0, |output| has(output, "from the second")).await;
    assert!(!has(&output, "from the first"), "{}", String::from_utf8_lossy(&output));
}

#[tokio::test]
async fn an_epoch_that_is_not_higher_is_refused() {
    let device = Device::new();
    let (mut first, _) = device.taken(5, Some(create("cat"))).await;
    for epoch in [5, 4, 0] {
        let mut late = device.attach();
        late.say(&device.take(epoch, Some(create("cat")))).await;
        assert_eq!(late.hear_control().await, Some(KeeperControl::Superseded { epoch: 5 }));
        assert!(late.hear().await.is_none());
    }
    first.say(&device.join(1, "tab", Some(0), 0)).await;
    first.types(1, 0, "still mine\n").await;
    first.read_output(1, 0, |output| has(output, "still mine")).await;
}

#[tokio::test]
async fn two_that_create_at_the_same_moment_start_one_shell() {
    for _ in 0..5 {
        let device = Device::new();
        let command = format!("echo started >> {}; exec cat", device.path("starts").display());
        let mut brokers: Vec<_> = (0..4).map(|_| device.attach()).collect();
        for (broker, epoch) in brokers.iter_mut().zip(1..) {
            broker.say(&device.take(epoch, Some(create(&command)))).await;
        }
        let mut created = 0;
        for broker in &mut brokers {
            match broker.hear_control().await {
                Some(KeeperControl::Taken(taken)) => created += usize::from(taken.created),
                Some(KeeperControl::Superseded { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((created, device.keepers().len()), (1, 1));
        until("the shell writes", || device.path("starts").exists()).await;
        assert_eq!(std::fs::read_to_string(device.path("starts")).unwrap(), "started\n");
    }
}

#[tokio::test]
async fn a_keeper_that_was_killed_counts_as_absent_and_another_can_be_created() {
    let device = Device::new();
    let (attached, _) = device.taken(5, Some(create("cat"))).await;
    let keeper = device.keeper().expect("a keeper");
    crate::device::kill(keeper);
    drop(attached);
    until("it is gone", || device.keepers().is_empty()).await;
    assert_eq!(device.files(), 2, "nobody could clear up");
    let (_again, taken) = device.taken(1, Some(create("cat"))).await;
    assert!(taken.created);
    crate::device::kill(device.keeper().expect("a keeper"));
    until("it is gone", || device.keepers().is_empty()).await;
    let mut attached = device.attach();
    attached.say(&device.take(2, None)).await;
    assert_eq!(attached.hear_control().await, Some(KeeperControl::Absent));
    assert_eq!(device.files(), 0);
}
