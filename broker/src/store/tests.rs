//! The store on a real file: what it keeps, and what it says when the disk or another process is in the way.

use std::os::unix::fs::PermissionsExt;

use moorline_wire::{DeviceId, Ending, Exit, SessionId};

use super::*;
use crate::config::Config;

const DEVICE: &str = "d-aaaaaaaaaaaaaaaa";

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn device(id: &str) -> DeviceRow {
    DeviceRow {
        id: id.parse().unwrap(),
        name: "pump".into(),
        key: vec![7; 32],
        next_key: None,
        key_asked: false,
        standing: Standing::Approved,
        install_key: None,
        login: "root".into(),
        platform: "linux x86_64".into(),
        sshd: "embedded".into(),
        software: "moorline-agent 0.1.0".into(),
        host_keys: vec!["ssh-ed25519 AAAA one".into(), "ssh-rsa BBBB".into()],
        offered_host_keys: None,
        enrolled: at(0),
        last_seen: None,
        tags: Vec::new(),
    }
}

fn session_id(letter: char) -> SessionId {
    format!("s-{}", letter.to_string().repeat(26)).parse().unwrap()
}

fn session(letter: char, second: i64) -> SessionRow {
    SessionRow {
        id: session_id(letter),
        device: DEVICE.parse().unwrap(),
        device_name: "pump".into(),
        login: "root".into(),
        person: "demo".into(),
        command: Some("uname -a".into()),
        started: at(second),
        ended: None,
        ending: None,
        house: House::Unknown,
        traced: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
    }
}

fn all() -> SessionFilter {
    SessionFilter { count_max: 100, ..SessionFilter::default() }
}

async fn open(folder: &Path) -> Store {
    open_within(folder, Config::default().timing).await
}

async fn open_within(folder: &Path, timing: Timing) -> Store {
    Store::open(&folder.join("data").join(FILE), &timing, Metrics::new()).await.unwrap()
}

#[tokio::test]
async fn rows_survive_a_restart_and_what_was_left_over_is_ended_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.enroll(&device(DEVICE)).await.unwrap();
    store.session_started(&session('a', 1)).await.unwrap();
    let plain = SessionRow { house: House::Plain, ..session('b', 2) };
    store.session_started(&plain).await.unwrap();
    let exited = Ending::exited(Exit::Status(3));
    store.session_ended(&session_id('a'), &exited, at(5)).await.unwrap();
    // The process dies here: nothing is closed.
    let store = open(folder.path()).await;
    assert_eq!(store.devices().await.unwrap(), [device(DEVICE)]);
    let gone = Ending::of(Code::GONE).saying("The broker was restarted.");
    assert_eq!(store.end_plain_leftovers(gone.clone(), at(9)).await.unwrap(), 1);
    assert_eq!(store.end_plain_leftovers(gone.clone(), at(10)).await.unwrap(), 0);
    let ended =
        |row: SessionRow, second, ending| SessionRow { ended: Some(at(second)), ending: Some(ending), ..row };
    let expected = [ended(plain, 9, gone), ended(session('a', 1), 5, exited)];
    assert_eq!(store.sessions(all()).await.unwrap(), expected);
    assert_eq!(store.session(&session_id('b')).await.unwrap().as_ref(), expected.first());
}

fn ids(rows: Vec<SessionRow>) -> Vec<SessionId> {
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn what_a_keeper_holds_or_may_hold_is_unfinished_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for (letter, second) in [('a', 1), ('b', 2), ('c', 3), ('d', 4)] {
        store.session_started(&session(letter, second)).await.unwrap();
    }
    store.session_housed(&session_id('b'), House::Keeper).await.unwrap();
    store.session_housed(&session_id('c'), House::Plain).await.unwrap();
    store.session_ended(&session_id('d'), &Ending::of(Code::KILLED), at(5)).await.unwrap();
    let store = open(folder.path()).await;
    let unfinished = store.unfinished().await.unwrap();
    assert_eq!(
        unfinished.iter().map(|row| row.house).collect::<Vec<_>>(),
        [House::Plain, House::Keeper, House::Unknown]
    );
    assert_eq!(ids(unfinished), ['c', 'b', 'a'].map(session_id));
    assert_eq!(store.end_plain_leftovers(Ending::of(Code::GONE), at(9)).await.unwrap(), 1);
    assert_eq!(ids(store.unfinished().await.unwrap()), ['b', 'a'].map(session_id));
}

#[tokio::test]
async fn what_a_device_may_still_hold_of_ended_sessions_is_known_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for (letter, second) in [('a', 1), ('b', 2), ('c', 3), ('d', 4)] {
        store.session_started(&session(letter, second)).await.unwrap();
    }
    store.session_housed(&session_id('b'), House::Keeper).await.unwrap();
    store.session_housed(&session_id('c'), House::Plain).await.unwrap();
    assert_eq!(store.unreleased(100).await.unwrap(), [], "none is over");
    for letter in ['a', 'b', 'c'] {
        store.session_ended(&session_id(letter), &Ending::of(Code::KILLED), at(5)).await.unwrap();
    }
    assert_eq!(ids(store.unreleased(100).await.unwrap()), ['b', 'a'].map(session_id));
    assert_eq!(ids(store.unreleased(1).await.unwrap()), [session_id('b')]);
    store.session_released(&session_id('b')).await.unwrap();
    let store = open(folder.path()).await;
    assert_eq!(ids(store.unreleased(100).await.unwrap()), [session_id('a')]);
}

#[tokio::test]
async fn what_is_unreleased_is_found_by_its_index_among_all_that_ever_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM sessions WHERE ended_us IS NOT NULL AND house <> 'plain'
                AND NOT released ORDER BY started_us DESC LIMIT 9";
    let steps = sqlx::query(plan).fetch_all(&store.pool).await.unwrap();
    let steps: Vec<String> = steps.iter().map(|step| sqlx::Row::get(step, "detail")).collect();
    assert_eq!(steps, ["SCAN sessions USING INDEX sessions_unreleased"]);
}

#[tokio::test]
async fn the_sessions_of_a_store_from_before_there_were_keepers_count_as_plain() {
    let folder = tempfile::tempdir().unwrap();
    private_folder(&folder.path().join("data")).unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("data").join(FILE));
    let former = SqlitePoolOptions::new().connect_with(options.create_if_missing(true)).await.unwrap();
    let first = sqlx::migrate!().iter().take(1).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(first).run(&former).await.unwrap();
    for (letter, ended) in [('a', None), ('b', Some(micros(at(3))))] {
        sqlx::query(
            "INSERT INTO sessions (id, device, device_name, login, person, started_us, ended_us)
             VALUES ($1, $2, 'pump', 'root', 'demo', $3, $4)",
        )
        .bind(session_id(letter).as_str())
        .bind(DEVICE)
        .bind(micros(at(1)))
        .bind(ended)
        .execute(&former)
        .await
        .unwrap();
    }
    former.close().await;
    let store = open(folder.path()).await;
    let rows = store.sessions(all()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.house).collect::<Vec<_>>(), [House::Plain; 2]);
    assert_eq!(store.unreleased(100).await.unwrap(), []);
    assert_eq!(store.end_plain_leftovers(Ending::of(Code::GONE), at(9)).await.unwrap(), 1);
    assert_eq!(store.unfinished().await.unwrap(), []);
    // New ones are not.
    store.session_started(&session('c', 4)).await.unwrap();
    assert_eq!(ids(store.unfinished().await.unwrap()), [session_id('c')]);
}

#[tokio::test]
async fn the_first_ending_of_a_session_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.session_started(&session('a', 1)).await.unwrap();
    store.session_ended(&session_id('a'), &Ending::killed("anna", Some("tea")), at(2)).await.unwrap();
    store.session_ended(&session_id('a'), &Ending::of(Code::DEVICE_LOST), at(3)).await.unwrap();
    let row = store.session(&session_id('a')).await.unwrap().unwrap();
    assert_eq!((row.ending.unwrap().code, row.ended), (Code::KILLED, Some(at(2))));
}

#[tokio::test]
async fn sessions_are_found_by_state_and_device() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let other: DeviceId = "d-bbbbbbbbbbbbbbbb".parse().unwrap();
    store.session_started(&session('a', 1)).await.unwrap();
    store.session_started(&SessionRow { device: other.clone(), ..session('b', 2) }).await.unwrap();
    store.session_ended(&session_id('a'), &Ending::of(Code::GONE), at(3)).await.unwrap();
    let found = async |state, device| {
        let rows = store.sessions(SessionFilter { state, device, ..all() }).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(found(SessionsOf::All, None).await, [session_id('b'), session_id('a')]);
    assert_eq!(found(SessionsOf::Ended, None).await, [session_id('a')]);
    assert_eq!(found(SessionsOf::All, Some(other)).await, [session_id('b')]);
    assert_eq!(store.sessions(SessionFilter { count_max: 1, ..all() }).await.unwrap().len(), 1);
}

#[tokio::test]
async fn ended_sessions_are_told_by_their_end_and_go_on_after_any_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // The first to begin is the last to end; two end at the same moment; one goes on.
    for (letter, ended) in [('a', Some(9)), ('b', Some(5)), ('c', Some(5)), ('d', Some(7)), ('e', None)] {
        store.session_started(&session(letter, i64::from(u32::from(letter)))).await.unwrap();
        if let Some(second) = ended {
            store.session_ended(&session_id(letter), &Ending::of(Code::GONE), at(second)).await.unwrap();
        }
    }
    let mut after = None;
    let mut told = Vec::new();
    loop {
        let filter = SessionFilter { state: SessionsOf::Ended, after, count_max: 1, ..all() };
        let rows = store.sessions(filter).await.unwrap();
        let Some(row) = rows.into_iter().next() else { break };
        after = Some(EndedAt { ended_us: micros(row.ended.unwrap()), id: row.id.clone() });
        told.push(row.id);
    }
    assert_eq!(told, ['a', 'd', 'c', 'b'].map(session_id));
}

#[tokio::test]
async fn sessions_are_found_by_words_that_stand_anywhere_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.session_started(&session('a', 1)).await.unwrap();
    let other = SessionRow { device_name: "Router_7".into(), command: None, ..session('b', 2) };
    store.session_started(&SessionRow { person: "anna".into(), ..other }).await.unwrap();
    store.session_ended(&session_id('b'), &Ending::killed("bert", Some("Tea 100%")), at(3)).await.unwrap();
    let found = async |words: &[&str]| {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        ids(store.sessions(SessionFilter { words, ..all() }).await.unwrap())
    };
    let (a, b) = (session_id('a'), session_id('b'));
    assert_eq!(found(&[]).await, [b.clone(), a.clone()]);
    for words in [&["anna", "router_7"][..], &["bert"], &["tea"], &["100%"], &["killed"], &[b.as_str()]] {
        assert_eq!(found(words).await, std::slice::from_ref(&b), "{words:?}");
    }
    assert_eq!(found(&["uname"]).await, [a]);
    // No character means another one, and the names of the JSON's fields are no text of a session.
    for words in [&["anna", "pump"][..], &["router%"], &["routers7"], &["\"text"], &["' or ''='"]] {
        assert_eq!(found(words).await, [], "{words:?}");
    }
}

#[tokio::test]
async fn a_page_of_ended_sessions_is_read_from_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM sessions WHERE TRUE AND ended_us IS NOT NULL
                AND (ended_us, id) < (9, 'x') ORDER BY ended_us DESC, id DESC LIMIT 9";
    let steps = sqlx::query(plan).fetch_all(&store.pool).await.unwrap();
    let steps: Vec<String> = steps.iter().map(|step| sqlx::Row::get(step, "detail")).collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].starts_with("SEARCH sessions USING INDEX sessions_by_end"), "{steps:?}");
}

#[tokio::test]
async fn a_name_that_a_person_gave_outlives_the_agents_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let row = device(DEVICE);
    store.enroll(&row).await.unwrap();
    let seen = DeviceSeen {
        name: "host-2".into(),
        login: "anna".into(),
        platform: row.platform.clone(),
        software: row.software.clone(),
        sshd: row.sshd.clone(),
        at: at(4),
    };
    store.seen(&row.id, seen.clone());
    store.write_noted().await.unwrap();
    let now = store.device(&row.id).await.unwrap().unwrap();
    assert_eq!((now.name.as_str(), now.login.as_str(), now.last_seen), ("host-2", "anna", Some(at(4))));
    store.rename(&row.id, "by the door").await.unwrap();
    store.seen(&row.id, seen.clone());
    store.write_noted().await.unwrap();
    assert_eq!(store.device(&row.id).await.unwrap().unwrap().name, "by the door");
    let unknown = "d-bbbbbbbbbbbbbbbb".parse().unwrap();
    assert_eq!(store.rename(&unknown, "x").await.unwrap_err().code, Code::UNKNOWN_DEVICE);
}

/// What a device says of itself the next time.
fn seen(row: &DeviceRow, second: i64) -> DeviceSeen {
    DeviceSeen {
        name: row.name.clone(),
        login: row.login.clone(),
        platform: row.platform.clone(),
        software: row.software.clone(),
        sshd: row.sshd.clone(),
        at: at(second),
    }
}

#[tokio::test]
async fn what_more_devices_told_than_a_statement_takes_is_written_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let mut many = store.pool.begin().await.unwrap();
    let id =
        |number: u32| format!("d-{}", data_encoding::BASE32_NOPAD.encode(format!("{number:010}").as_bytes()));
    for number in 0..1200 {
        let row = device(DEVICE);
        sqlx::query("INSERT INTO devices (id, name, key, login, platform, sshd, software, host_keys, enrolled_us) VALUES ($1, 'n', $2, 'l', 'p', 's', 'w', 'k', 0)")
            .bind(id(number).to_lowercase())
            .bind(row.key)
            .execute(&mut *many)
            .await
            .unwrap();
    }
    many.commit().await.unwrap();
    for number in 0..1200 {
        let id = id(number).to_lowercase().parse().unwrap();
        store.seen(&id, seen(&device(DEVICE), i64::from(number)));
    }
    store.write_noted().await.unwrap();
    let mut last_seen: Vec<_> = store.devices().await.unwrap().into_iter().map(|row| row.last_seen).collect();
    last_seen.sort();
    let expected: Vec<_> = (0..1200).map(|second| Some(at(second))).collect();
    assert_eq!(last_seen, expected);
}

#[tokio::test]
async fn what_cannot_be_written_stays_noted_unless_something_newer_came() {
    let folder = tempfile::tempdir().unwrap();
    let timing = Timing { store: Duration::from_millis(200), ..Config::default().timing };
    let store = open_within(folder.path(), timing).await;
    let rows = [device(DEVICE), device("d-bbbbbbbbbbbbbbbb")];
    for row in &rows {
        store.enroll(row).await.unwrap();
        store.seen(&row.id, seen(row, 1));
    }
    let other = one_connection(folder.path()).await;
    let mut held = other.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *held).await.unwrap();
    let (written, ()) =
        tokio::join!(store.write_noted(), async { store.seen(&rows[0].id, seen(&rows[0], 2)) });
    written.unwrap_err();
    sqlx::query("ROLLBACK").execute(&mut *held).await.unwrap();
    store.write_noted().await.unwrap();
    let mut last_seen = Vec::new();
    for row in &rows {
        last_seen.push(store.device(&row.id).await.unwrap().unwrap().last_seen);
    }
    assert_eq!(last_seen, [Some(at(2)), Some(at(1))]);
}

#[tokio::test]
async fn other_host_keys_wait_until_they_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let row = device(DEVICE);
    store.enroll(&row).await.unwrap();
    assert!(!store.accept_host_keys(&row.id).await.unwrap(), "there is nothing to accept");
    let offered = vec!["ssh-ed25519 CCCC".to_owned()];
    store.offered_host_keys(&row.id, Some(offered.clone())).await.unwrap();
    let waiting = store.device(&row.id).await.unwrap().unwrap();
    assert_eq!(
        (waiting.host_keys, waiting.offered_host_keys),
        (row.host_keys.clone(), Some(offered.clone()))
    );
    assert!(store.accept_host_keys(&row.id).await.unwrap());
    let accepted = store.device(&row.id).await.unwrap().unwrap();
    assert_eq!((accepted.host_keys, accepted.offered_host_keys), (offered, None));
}

#[tokio::test]
async fn a_forgotten_device_leaves_its_sessions_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.enroll(&device(DEVICE)).await.unwrap();
    store.session_started(&session('a', 1)).await.unwrap();
    assert!(store.forget(&DEVICE.parse().unwrap()).await.unwrap());
    assert!(!store.forget(&DEVICE.parse().unwrap()).await.unwrap());
    assert_eq!(store.sessions(all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.enroll(&device(DEVICE)).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 3, "the file itself, its log and the log's index");
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // SQLite answers SQLITE_FULL when the file has as many pages as it may, as on a full disk. The
    // setting is one of a connection: with one connection, it is for all.
    let store = Store { pool: one_connection(folder.path()).await, ..store };
    sqlx::query("PRAGMA max_page_count = 1").execute(&store.pool).await.unwrap();
    store.session_started(&session('7', 1)).await.unwrap();
    let problem = fill(&store).await;
    assert_eq!(problem.code, Code::DISK_FULL);
    assert_eq!(store.answers().await.unwrap_err().code, Code::DISK_FULL);
    assert_eq!(problem.text, "The disk of the broker is full. Free some space in its data folder.");
    assert!(problem.chain().contains("full"), "{}", problem.chain());
    // What is there can still be read.
    assert!(!store.sessions(all()).await.unwrap().is_empty());
    sqlx::query("PRAGMA max_page_count = 100000").execute(&store.pool).await.unwrap();
    store.answers().await.unwrap();
    store.session_started(&session('6', 1)).await.unwrap();
}

async fn one_connection(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(folder.join("data").join(FILE));
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

/// Writes until it is refused.
async fn fill(store: &Store) -> Problem {
    for first in 'a'..='z' {
        for last in 'a'..='z' {
            let id = format!("s-{}{last}", first.to_string().repeat(25)).parse().unwrap();
            let row = SessionRow { id, command: Some("x".repeat(4000)), ..session('a', 1) };
            if let Err(problem) = store.session_started(&row).await {
                return problem;
            }
        }
    }
    panic!("the disk never was full");
}

#[tokio::test]
async fn a_disk_that_is_really_full_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mounted_at(folder.path()) else {
        eprintln!("no right to mount a small disk: the test above stands for this one");
        return;
    };
    let store = open(folder.path()).await;
    assert_eq!(fill(&store).await.code, Code::DISK_FULL);
    assert_eq!(store.answers().await.unwrap_err().code, Code::DISK_FULL);
}

/// A tmpfs of 512 KiB, unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mounted_at(folder: &Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(folder);
        let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_store_that_another_process_holds_is_told_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    // What makes the tables may take longer on a busy machine than what is asked below.
    drop(open_within(folder.path(), Config::default().timing).await);
    let timing = Timing { store: Duration::from_millis(200), ..Config::default().timing };
    let store = open_within(folder.path(), timing).await;
    let other = one_connection(folder.path()).await;
    let mut held = other.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *held).await.unwrap();
    let began = clock::now();
    let problem = store.session_started(&session('a', 1)).await.unwrap_err();
    assert_eq!(problem.code, Code::STORE_FAILED);
    assert!(clock::now() - began < Duration::from_secs(2), "{}", problem.chain());
    assert_eq!(store.answers().await.unwrap_err().code, Code::STORE_FAILED);
    sqlx::query("ROLLBACK").execute(&mut *held).await.unwrap();
    store.answers().await.unwrap();
    store.session_started(&session('a', 1)).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let outcome = Store::open(&file.join(FILE), &Config::default().timing, Metrics::new()).await;
    let problem = outcome.err().unwrap();
    assert_eq!(problem.code, Code::BAD_CONFIG);
    assert!(problem.text.contains("data_dir") && problem.text.contains("file"), "{}", problem.text);
}
