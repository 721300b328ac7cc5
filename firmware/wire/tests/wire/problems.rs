//! Problems: each has a stable name, and a sentence that says what to do.

use std::collections::BTreeSet;

use trust::TicketError;
use wire::{Code, Problem};

use crate::strictness;

#[test]
fn every_code_says_what_to_do() {
    let mut names = BTreeSet::new();
    for code in Code::ALL.iter().copied() {
        assert!(names.insert(code.name()), "{code} twice");
        assert!(code.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        assert_eq!(code.name().parse(), Ok(code));
        assert!((400..600).contains(&code.status()), "{code}");
        assert!(code.what_to_do().ends_with('.') && code.what_to_do().split(' ').count() > 4, "{code}");
        let problem = Problem::new(code, "a detail");
        assert_eq!(problem.what_to_do.as_str(), code.what_to_do(), "{code}: not cut");
        assert_eq!(problem.title.as_str(), code.title(), "{code}: not cut");
    }
}

/// Names that were given out stay. A new one is added here.
#[test]
fn names_stay() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let expected = "invite-used invite-expired invite-mistyped invite-foreign invite-forged invite-revoked wrong-pin \
        wrong-root coordinator-refused two-coordinators clock-off name-taken name-refused key-taken stream-taken stream-unknown \
        box-revoked \
        box-unknown box-refused membership-lapsed address-space-full database-locked disk-full database-corrupt \
        database-read-only database-newer request-forged request-replayed try-again too-many-requests too-large malformed unknown-version stale-map \
        not-found method-not-allowed unauthorized forbidden internal other";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn a_problem_is_as_rfc_9457_has_it() {
    let problem = Problem::new(Code::InviteUsed, "it let in the box `ana` on 2026-10-01");
    strictness::check(&problem, &[]);
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!(json["type"], "/problems/invite-used");
    assert_eq!(json["status"], 409);
    assert_eq!(json["code"], "invite-used");
    let long = Problem::new(Code::Internal, &"x\n".repeat(1000));
    assert_eq!(long.detail.len(), 512);
    let mut later = json;
    later["code"] = "of-a-later-version".into();
    assert_eq!(serde_json::from_value::<Problem>(later).unwrap().code, Code::Other);
}

#[test]
fn texts_that_are_no_invite_have_the_right_code() {
    let code = |error| Code::from(&error);
    assert_eq!(code(TicketError::NotAnInvite), Code::InviteMistyped);
    assert_eq!(code(TicketError::Truncated { missing: 4 }), Code::InviteMistyped);
    assert_eq!(code(TicketError::OtherVersion { found: '2' }), Code::UnknownVersion);
    assert_eq!(code(TicketError::OtherSecret), Code::InviteForged);
    let newer = trust::DecodeError::OtherVersion { found: 2 };
    assert_eq!(code(TicketError::Content(newer)), Code::UnknownVersion);
}
