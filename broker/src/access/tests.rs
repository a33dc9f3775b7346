//! The table of decisions.

use super::*;

const LAB: &str = "d-labaaaaaaaaaaaaa";
const YARD: &str = "d-yardaaaaaaaaaaaa";

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000).unwrap()
}

fn subject(name: &str, roles: &[Role], groups: &[&str]) -> Subject {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Subject { name: name.to_owned(), roles: roles.to_vec(), groups, scopes: None }
}

fn with_scopes(subject: Subject, scopes: &[&str]) -> Subject {
    let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
    Subject { scopes: Some(scopes), ..subject }
}

/// `"g1 group:night shell,exec lab,!prod pi,root"`
fn grant(text: &str) -> Grant {
    let parts: Vec<&str> = text.split(' ').collect();
    let [id, who, acts, devices, logins] = parts[..] else { panic!("{text}") };
    Grant {
        id: grant_id(id),
        who: who.parse().unwrap(),
        acts: acts.split(',').map(|act| act.parse().unwrap()).collect(),
        devices: devices.parse().unwrap(),
        logins: logins.parse().unwrap(),
        until: None,
    }
}

fn tags(device: &str) -> Vec<Tag> {
    let tags: &[&str] = if device == LAB { &["lab", "floor=2"] } else { &["yard", "prod"] };
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

/// `g1` stands for an id of the usual length.
fn grant_id(short: &str) -> GrantId {
    let letter = char::from(b'a' + short.as_bytes()[1] - b'0');
    format!("g-{}", letter.to_string().repeat(16)).parse().unwrap()
}

/// One decision with these grants.
fn decided(subject: &Subject, act: &str, device: &str, login: Option<&str>, grants: &[&str]) -> Decision {
    let grants: Vec<Grant> = grants.iter().map(|text| grant(text)).collect();
    let (id, tags) = (device.parse().unwrap(), tags(device));
    let target = Target { device: &id, tags: &tags, login };
    decide(now(), subject, act.parse().unwrap(), target, &grants)
}

fn by(id: &str) -> Decision {
    Decision::Allowed(By::Grant(grant_id(id)))
}

const NO: fn(Missing) -> Decision = Decision::Denied;

/// Who, what, where, as whom, with which grants, and what is decided.
type Line<'a> = (&'a Subject, &'a str, &'a str, Option<&'a str>, &'a [&'a str], Decision);

#[test]
fn each_line_of_the_table_is_decided_as_it_says() {
    let anna = subject("anna", &[Role::Operator], &["night"]);
    let walt = subject("walt", &[Role::Watcher], &["night"]);
    let root = subject("root", &[Role::Admin], &[]);
    let nobody = subject("nobody", &[], &["night"]);
    let both = subject("both", &[Role::Watcher, Role::Operator], &[]);
    let night = "g1 group:night shell,watch lab pi";
    let hers = "g2 person:anna shell,exec,manage yard,prod *";
    let operators = "g3 role:operator kill * *";
    let all = [night, hers, operators];
    let table: &[Line<'_>] = &[
        // Nothing is allowed unless something allows it.
        (&anna, "shell", LAB, Some("pi"), &[], NO(Missing::Grant)),
        (&anna, "files", LAB, Some("pi"), &all, NO(Missing::Grant)),
        // By a group, a name, a role.
        (&anna, "shell", LAB, Some("pi"), &all, by("g1")),
        (&anna, "exec", YARD, Some("root"), &all, by("g2")),
        (&anna, "kill", YARD, None, &all, by("g3")),
        (&anna, "manage", YARD, None, &all, by("g2")),
        // For other logins, for other devices.
        (&anna, "shell", LAB, Some("root"), &all, NO(Missing::Login)),
        (&anna, "shell", LAB, Some("pi2"), &all, NO(Missing::Login)),
        (&anna, "exec", LAB, Some("pi"), &all, NO(Missing::Device)),
        (&anna, "manage", LAB, None, &all, NO(Missing::Device)),
        // A role bounds what grants give.
        (&walt, "watch", LAB, Some("pi"), &all, by("g1")),
        (&walt, "watch", LAB, Some("root"), &all, NO(Missing::Login)),
        (&walt, "shell", LAB, Some("pi"), &all, NO(Missing::HigherRole)),
        (&walt, "kill", LAB, Some("pi"), &["g9 person:walt kill * *"], NO(Missing::HigherRole)),
        (&both, "kill", LAB, None, &all, by("g3")),
        (&nobody, "shell", LAB, Some("pi"), &all, NO(Missing::Role)),
        (&nobody, "watch", LAB, Some("pi"), &["g9 person:nobody watch * *"], NO(Missing::Role)),
        // An administrator needs none.
        (&root, "shell", YARD, Some("root"), &[], Decision::Allowed(By::Admin)),
        (&root, "manage", YARD, None, &[], Decision::Allowed(By::Admin)),
        // Names are not prefixes, and a person is no group.
        (&subject("ann", &[Role::Operator], &[]), "exec", YARD, Some("pi"), &[hers], NO(Missing::Grant)),
        (&subject("night", &[Role::Operator], &[]), "shell", LAB, Some("pi"), &[night], NO(Missing::Grant)),
        (&subject("x", &[Role::Operator], &["anna"]), "exec", YARD, Some("pi"), &[hers], NO(Missing::Grant)),
        // A selector: every term must hold.
        (&anna, "shell", YARD, Some("pi"), &["g4 person:anna shell !prod *"], NO(Missing::Device)),
        (&anna, "shell", LAB, Some("pi"), &["g4 person:anna shell !prod *"], by("g4")),
        (&anna, "shell", LAB, Some("pi"), &["g4 person:anna shell lab,floor=3 *"], NO(Missing::Device)),
        (&anna, "shell", LAB, Some("pi"), &["g4 person:anna shell lab,floor=2 *"], by("g4")),
        (&anna, "shell", LAB, Some("pi"), &["g4 person:anna shell d-labaaaaaaaaaaaaa *"], by("g4")),
        (
            &anna,
            "shell",
            YARD,
            Some("pi"),
            &["g4 person:anna shell d-labaaaaaaaaaaaaa *"],
            NO(Missing::Device),
        ),
        (&anna, "shell", YARD, Some("pi"), &["g4 person:anna shell * *"], by("g4")),
    ];
    for (subject, act, device, login, grants, expected) in table {
        let got = decided(subject, act, device, *login, grants);
        assert_eq!(got, *expected, "{} {act} {device} {login:?} {grants:?}", subject.name);
        assert!(got.reason().ends_with('.'));
    }
}

#[test]
fn of_several_that_fall_short_the_nearest_is_told() {
    let anna = subject("anna", &[Role::Operator], &[]);
    let grants =
        ["g1 person:anna shell yard pi", "g2 person:anna shell lab root", "g3 person:anna exec lab pi"];
    assert_eq!(decided(&anna, "shell", LAB, Some("pi"), &grants), NO(Missing::Login));
    assert_eq!(decided(&anna, "shell", LAB, Some("pi"), &grants[..1]), NO(Missing::Device));
}

#[test]
fn a_grant_that_is_over_counts_no_more_from_that_moment_on() {
    let anna = subject("anna", &[Role::Operator], &[]);
    let (device, second) = (LAB.parse().unwrap(), jiff::SignedDuration::from_secs(1));
    let target = Target { device: &device, tags: &[], login: Some("pi") };
    let grants = [Grant { until: Some(now()), ..grant("g1 person:anna shell * *") }];
    assert_eq!(decide(now() - second, &anna, Act::Shell, target, &grants), by("g1"));
    assert_eq!(decide(now(), &anna, Act::Shell, target, &grants), NO(Missing::Unexpired));
}

#[test]
fn a_token_may_what_its_owner_may_and_it_is_for() {
    let grants = ["g1 person:anna shell,kill lab *"];
    let anna = subject("anna", &[Role::Operator], &[]);
    let token = with_scopes(anna.clone(), &["shell", "admin", "manage"]);
    assert_eq!(decided(&token, "shell", LAB, Some("pi"), &grants), by("g1"));
    assert_eq!(decided(&token, "kill", LAB, None, &grants), NO(Missing::Scope));
    assert_eq!(decided(&token, "manage", LAB, None, &grants), NO(Missing::Grant));
    assert!(!token.administers(), "its owner does not");
    let root = subject("root", &[Role::Admin], &[]);
    assert!(root.administers() && with_scopes(root.clone(), &["admin"]).administers());
    let narrow = with_scopes(root, &["kill"]);
    assert!(!narrow.administers());
    assert_eq!(decided(&narrow, "kill", LAB, None, &[]), Decision::Allowed(By::Admin));
    assert_eq!(decided(&narrow, "shell", LAB, Some("pi"), &[]), NO(Missing::Scope));
    // Demoted: nothing is left of it.
    let demoted = with_scopes(subject("root", &[], &[]), &["kill", "admin"]);
    assert_eq!(decided(&demoted, "kill", LAB, None, &grants), NO(Missing::Role));
}

#[test]
fn a_device_is_seen_by_whoever_may_do_anything_with_it() {
    let sees = |subject: &Subject, device: &str, grants: &[&str]| {
        let (id, tags) = (device.parse().unwrap(), tags(device));
        let grants: Vec<Grant> = grants.iter().map(|text| grant(text)).collect();
        sees_device(now(), subject, Target { device: &id, tags: &tags, login: Some("nobody") }, &grants)
    };
    let anna = subject("anna", &[Role::Operator], &[]);
    let walt = subject("walt", &[Role::Watcher], &[]);
    let grants = ["g1 person:anna forward lab pi", "g2 person:walt shell lab *"];
    assert!(sees(&anna, LAB, &grants) && !sees(&anna, YARD, &grants));
    assert!(!sees(&walt, LAB, &grants), "a watcher has no use for it");
    assert!(sees(&with_scopes(anna, &["kill"]), LAB, &grants));
    assert!(sees(&subject("root", &[Role::Admin], &[]), YARD, &[]));
}

/// Which rights somebody has to a shell of anna's, as `pi` in the lab: `s`ee, `w`atch, `d`rive, `k`ill.
fn rights(subject: &Subject, grants: &[&str]) -> String {
    let (id, tags) = (LAB.parse().unwrap(), tags(LAB));
    let grants: Vec<Grant> = grants.iter().map(|text| grant(text)).collect();
    let target = Target { device: &id, tags: &tags, login: Some("pi") };
    let session = OfSession { target, owner: "anna", kind: Act::Shell };
    let has = |right| on_session(now(), subject, right, session, &grants).is_allowed();
    let all = [('s', Right::See), ('w', Right::Watch), ('d', Right::Drive), ('k', Right::Kill)];
    all.into_iter().filter(|(_, right)| has(*right)).map(|(letter, _)| letter).collect()
}

#[test]
fn what_somebody_may_do_with_a_session_follows_from_whose_it_is_and_their_grants() {
    let (operator, watcher) = ([Role::Operator], [Role::Watcher]);
    let anna = subject("anna", &operator, &[]);
    let eve = subject("eve", &operator, &[]);
    let walt = subject("walt", &watcher, &[]);
    let root = subject("root", &[Role::Admin], &[]);
    let shell = "g1 role:operator shell lab pi";
    let table: &[(&Subject, &[&str], &str)] = &[
        (&anna, &[shell], "swdk"),
        // What allowed it is gone: still theirs to see and to end, not to use.
        (&anna, &[], "sk"),
        (&anna, &["g1 role:operator shell lab root"], "sk"),
        (&anna, &["g1 role:operator exec lab pi"], "sk"),
        // Another operator with the same grant has nothing to do with it.
        (&eve, &[shell], ""),
        (&eve, &[shell, "g2 person:eve watch lab pi"], "sw"),
        (&eve, &[shell, "g2 person:eve watch lab root"], ""),
        (&eve, &["g2 person:eve kill * *"], "sk"),
        (&eve, &["g2 person:eve manage lab *"], "s"),
        (&walt, &["g2 role:watcher watch,kill,shell lab pi"], "sw"),
        (&root, &[], "swdk"),
        (&subject("anna", &[], &[]), &[shell], ""),
        // The owner's tokens.
        (&with_scopes(anna.clone(), &["shell"]), &[shell], "swd"),
        (&with_scopes(anna.clone(), &["exec"]), &[shell], "s"),
        (&with_scopes(anna.clone(), &["kill"]), &[shell], "sk"),
        (&with_scopes(root.clone(), &["watch"]), &[], "sw"),
        (&with_scopes(root.clone(), &["admin"]), &[], "s"),
    ];
    for (subject, grants, expected) in table {
        assert_eq!(rights(subject, grants), *expected, "{subject:?} {grants:?}");
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    for text in ["*", "lab", "lab,!prod", "d-labaaaaaaaaaaaaa,env=prod"] {
        assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
    }
    for text in ["*", "root", "pi,root"] {
        assert_eq!(text.parse::<Logins>().unwrap().to_string(), text);
    }
    for text in ["person:anna", "group:night", "role:watcher"] {
        assert_eq!(text.parse::<Who>().unwrap().to_string(), text);
    }
    assert_eq!(" lab , !prod ".parse::<Selector>().unwrap().to_string(), "lab,!prod");
}

#[test]
fn what_could_mean_something_else_is_refused() {
    for text in [
        "",
        ",",
        "lab,",
        "Lab",
        "*,lab",
        "!",
        "!!x",
        "a b",
        "lab;prod",
        "!d-labaaaaaaaaaaaaa",
        &"x".repeat(65),
    ] {
        assert!(text.parse::<Selector>().is_err(), "{text:?}");
    }
    assert!(vec!["x"; 33].join(",").parse::<Selector>().is_err());
    for text in ["", "-tag", "d-labaaaaaaaaaaaaa", "Täg", "a,b", "\u{1b}[31m"] {
        assert!(text.parse::<Tag>().is_err(), "{text:?}");
    }
    for text in ["", "root,", "-oProxyCommand=x", "a b", "*,root", "a:b"] {
        assert!(text.parse::<Logins>().is_err(), "{text:?}");
    }
    for text in ["anna", "person:", "person:Anna", "role:anna", "team:x", "person:a\nb", "group:*"] {
        assert!(text.parse::<Who>().is_err(), "{text:?}");
    }
    for name in ["", "Anna", "a b", "-a", ".a", "a\u{7f}", "ä", &"a".repeat(65)] {
        assert!(!is_name(name), "{name:?}");
    }
    assert!(is_name("anna.b+x@example.org"));
}
