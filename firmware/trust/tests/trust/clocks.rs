//! A board without a clock: what it follows, and what it does not.

use std::time::Duration;

use trust::clock::{Answer, Clock, ClockError, Nonce, SignedTime, Step};
use trust::*;

use crate::mesh::{Mesh, NOW, days, secs};

const NONCE: Nonce = Nonce([5; 32]);
const EPOCH: UnixSeconds = UnixSeconds::new(0);

fn ask(clock: &mut Clock, mesh: &Mesh, now: UnixSeconds, shown: UnixSeconds) -> Result<Step, ClockError> {
    let time = SignedTime { mesh: mesh.id(), nonce: NONCE, now };
    answer(clock, mesh, &Signed::sign(time, &mesh.coordinator).unwrap(), shown, Duration::ZERO)
}

fn answer(
    clock: &mut Clock,
    mesh: &Mesh,
    time: &Signed<SignedTime>,
    shown: UnixSeconds,
    round_trip: Duration,
) -> Result<Step, ClockError> {
    let answer = Answer { certificate: &mesh.certificate(), time, round_trip };
    clock.handle_answer(&answer, &NONCE, &Mesh::new(1).root_key(), &Revocations::new(), shown)
}

#[test]
fn a_board_in_1970_gets_the_time() {
    let mesh = Mesh::new(1);
    let mut clock = Clock::new(days(-50), None);
    assert_eq!(ask(&mut clock, &mesh, NOW, EPOCH), Ok(Step::Set(NOW)));
    assert_eq!(clock.floor(), NOW);
    assert_eq!(ask(&mut clock, &mesh, secs(60), secs(61)), Ok(Step::Keep));
    assert_eq!(ask(&mut clock, &mesh, secs(70), secs(65)), Ok(Step::Set(secs(70))), "forward is fine");
    let back = ClockError::Back { now: secs(100), answer: secs(80) };
    assert_eq!(ask(&mut clock, &mesh, secs(80), secs(100)), Err(back));
    clock.handle_timeout(secs(100));
    assert_eq!(ask(&mut clock, &mesh, secs(98), secs(100)), Ok(Step::Keep), "a clock that is a little ahead");
    assert_eq!(clock.floor(), secs(100));
    let floor = ClockError::BelowFloor { floor: secs(100), answer: secs(97) };
    assert_eq!(ask(&mut clock, &mesh, secs(97), secs(100)), Err(floor));
}

#[test]
fn a_guess_that_is_ahead_is_put_right_once() {
    let mesh = Mesh::new(1);
    let mut clock = Clock::new(days(-50), Some(days(-1)));
    assert_eq!(clock.floor(), days(-1));
    clock.handle_timeout(days(400));
    assert_eq!(clock.floor(), days(-1), "a guess raises nothing");
    assert_eq!(ask(&mut clock, &mesh, NOW, days(400)), Ok(Step::Set(NOW)));
}

#[test]
fn the_floor_is_the_later_of_both() {
    assert_eq!(Clock::new(days(3), Some(days(1))).floor(), days(3));
    assert_eq!(Clock::new(days(3), Some(days(5))).floor(), days(5));
    let mesh = Mesh::new(1);
    let floor = ClockError::BelowFloor { floor: days(3), answer: NOW };
    assert_eq!(ask(&mut Clock::new(days(3), None), &mesh, NOW, EPOCH), Err(floor));
}

#[test]
fn answers_to_others_and_by_others_are_refused() {
    let (mesh, other) = (Mesh::new(1), Mesh::new(2));
    let mut clock = Clock::new(days(-50), None);
    let untouched = clock;
    let time = |mesh: &Mesh, nonce| SignedTime { mesh: mesh.id(), nonce, now: NOW };
    let replayed = Signed::sign(time(&mesh, Nonce([6; 32])), &mesh.coordinator).unwrap();
    assert_eq!(answer(&mut clock, &mesh, &replayed, EPOCH, Duration::ZERO), Err(ClockError::OtherNonce));
    let forged = Signed::sign(time(&mesh, NONCE), &other.coordinator).unwrap();
    let found = answer(&mut clock, &mesh, &forged, EPOCH, Duration::ZERO);
    assert_eq!(found, Err(ClockError::Answer(VerifyError::Forged)));
    let found = ask(&mut clock, &other, NOW, EPOCH);
    let foreign = CoordinatorError::Certificate(VerifyError::Foreign { mesh: other.id() });
    assert_eq!(found, Err(ClockError::Coordinator(foreign)));
    let expired = CoordinatorError::Expired { since: days(630) };
    assert_eq!(ask(&mut clock, &mesh, days(630), EPOCH), Err(ClockError::Coordinator(expired)));
    let slow = Signed::sign(time(&mesh, NONCE), &mesh.coordinator).unwrap();
    let found = answer(&mut clock, &mesh, &slow, EPOCH, Duration::from_secs(11));
    assert_eq!(found, Err(ClockError::TooSlow(Duration::from_secs(11))));
    assert_eq!(clock, untouched);
    let found = answer(&mut clock, &mesh, &slow, EPOCH, Duration::from_secs(8));
    assert_eq!(found, Ok(Step::Set(secs(4))), "half of the round trip later");
}
