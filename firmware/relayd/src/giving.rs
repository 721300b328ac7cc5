//! What this box gives other boxes, as its friend wishes: at most so much, less at quiet hours, nothing while paused.
//!
//! The wish is set on the streamer's page and kept in `giving.toml` in the data directory. What the settings file allows
//! at most (`[relay] upload_kbps_max`) stays above it. Quiet hours are on the clock on the wall: in the time zone that
//! came with the wish, which is the one of whoever set it, or else in this machine's. A board that does not know the time
//! has no quiet hours. Refuses to send or to hold back anything itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serve::{BackstageError, GivingView, GivingWhy, GivingWish, QuietHours};
use swarm::guard::Quiet;
use tokio::sync::watch;

use crate::secrets::replace;
use crate::status::unix_ms;

/// Quiet hours of one box.
const QUIET_MAX: usize = 8;
/// More than any line at home has.
const LIMIT_KBPS_MAX: u64 = 10_000_000;
const ZONE_BYTES_MAX: usize = 64;
/// 2025-01-01: a clock before this was never set.
const CLOCK_SET_UNIX_MS: i64 = 1_735_689_600_000;

type Now = Box<dyn Fn() -> i64 + Send + Sync>;

pub(crate) struct Giving {
    path: PathBuf,
    /// What the settings file allows at most.
    ceiling_bps: Option<u64>,
    /// Milliseconds since the Unix epoch.
    now: Now,
    wish: Mutex<Wish>,
    limit_bps: watch::Sender<Option<u64>>,
}

/// A wish that was checked.
#[derive(Clone, Debug)]
struct Wish {
    said: GivingWish,
    zone: TimeZone,
    quiet: Vec<(Quiet, u64)>,
}

/// What may be given at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    /// None: as much as goes.
    bps: Option<u64>,
    why: GivingWhy,
    /// When the quiet hours end, in minutes after midnight.
    until: Option<u16>,
}

impl Giving {
    pub(crate) fn open(data_dir: &Path, ceiling_bps: Option<u64>) -> Result<Self> {
        Self::with_clock(data_dir, ceiling_bps, Box::new(unix_ms))
    }

    fn with_clock(data_dir: &Path, ceiling_bps: Option<u64>, now: Now) -> Result<Self> {
        let path = data_dir.join("giving.toml");
        let said = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => GivingWish::default(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let wish = Wish::check(said)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("in {}", path.display()))?;
        let giving =
            Self { path, ceiling_bps, now, wish: Mutex::new(wish), limit_bps: watch::Sender::new(None) };
        giving.look();
        Ok(giving)
    }

    /// Never more than this on the line, in bits per second; none: as much as goes.
    pub(crate) fn limit_bps(&self) -> Option<u64> {
        *self.limit_bps.borrow()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Option<u64>> {
        self.limit_bps.subscribe()
    }

    /// Looks at the clock.
    pub(crate) fn look(&self) {
        let given = self.given(&self.wish());
        let changed = self.limit_bps.send_if_modified(|now| std::mem::replace(now, given.bps) != given.bps);
        if changed {
            tracing::info!(limit_bps = given.bps, why = ?given.why, "what this box gives others at most");
        }
    }

    pub(crate) fn set(&self, said: GivingWish) -> Result<(), BackstageError> {
        let next = Wish::check(said).map_err(BackstageError::Giving)?;
        let keep = || -> Result<()> {
            let text = toml::to_string(&next.said).context("writing down what to give")?;
            replace(&self.path, text.as_bytes(), 0o644)
        };
        let mut wish = self.wish();
        keep().map_err(|error| BackstageError::Failed(error.into()))?;
        *wish = next;
        drop(wish);
        self.look();
        Ok(())
    }

    pub(crate) fn view(&self, sending_bps: u64) -> GivingView {
        let wish = self.wish();
        let given = self.given(&wish);
        GivingView {
            wish: wish.said.clone(),
            ceiling_kbps: self.ceiling_bps.map(|bps| bps / 1000),
            now_kbps: given.bps.map(|bps| bps / 1000),
            why: given.why,
            until: given.until.map(clock),
            local_time: self.minute(&wish.zone).map(clock),
            zone_here: TimeZone::system().iana_name().map(str::to_owned),
            sending_bps,
        }
    }

    fn given(&self, wish: &Wish) -> Given {
        wish.given(self.ceiling_bps, self.minute(&wish.zone))
    }

    /// After midnight on the wall; none while nobody knows the time.
    fn minute(&self, zone: &TimeZone) -> Option<u16> {
        let now = Some((self.now)()).filter(|now| *now >= CLOCK_SET_UNIX_MS)?;
        let wall = Timestamp::from_millisecond(now).ok()?.to_zoned(zone.clone());
        u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).ok()
    }

    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    /// Or what is wrong with it, in plain words.
    fn check(said: GivingWish) -> Result<Self, String> {
        let kbps = |kbps: u64| match kbps {
            0..=LIMIT_KBPS_MAX => Ok(kbps * 1000),
            _ => Err(format!("a limit is at most {LIMIT_KBPS_MAX} kbit/s")),
        };
        if let Some(limit) = said.limit_kbps {
            kbps(limit)?;
        }
        if said.quiet.len() > QUIET_MAX {
            return Err(format!("there are at most {QUIET_MAX} quiet times"));
        }
        let quiet = said.quiet.iter().map(|hours| {
            let QuietHours { from, to, limit_kbps } = hours;
            let minute =
                |time: &str| minute_of(time).ok_or_else(|| format!("{time:?} is no time like 22:00"));
            let quiet = Quiet { from: minute(from)?, to: minute(to)? };
            if quiet.from == quiet.to {
                return Err(format!("from {from} to {to} is no time at all: pause instead"));
            }
            Ok((quiet, kbps(*limit_kbps)?))
        });
        let quiet = quiet.collect::<Result<_, _>>()?;
        let zone = match &said.zone {
            None => TimeZone::system(),
            Some(name) if name.len() <= ZONE_BYTES_MAX => {
                TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}"))?
            }
            Some(_) => return Err("no time zone has such a long name".to_owned()),
        };
        Ok(Self { said, zone, quiet })
    }

    /// `minute` is after midnight on the wall, none while nobody knows the time.
    fn given(&self, ceiling_bps: Option<u64>, minute: Option<u16>) -> Given {
        if self.said.paused {
            return Given { bps: Some(0), why: GivingWhy::Paused, until: None };
        }
        let limit_bps = self.said.limit_kbps.map(|kbps| kbps * 1000).into_iter().chain(ceiling_bps).min();
        let quiet = minute.and_then(|minute| {
            let now = self.quiet.iter().filter(|(quiet, _)| quiet.contains(minute));
            now.min_by_key(|(_, bps)| *bps)
        });
        match (quiet, limit_bps) {
            (Some((quiet, bps)), limit) if limit.is_none_or(|limit| *bps < limit) => {
                Given { bps: Some(*bps), why: GivingWhy::Quiet, until: Some(quiet.to) }
            }
            (_, Some(limit)) => Given { bps: Some(limit), why: GivingWhy::Limit, until: None },
            (_, None) => Given { bps: None, why: GivingWhy::Free, until: None },
        }
    }
}

/// `HH:MM`, from 00:00 to 23:59.
fn minute_of(time: &str) -> Option<u16> {
    let (hours, minutes) = time.split_once(':')?;
    let two = |text: &str, below: u16| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten().filter(|number: &u16| *number < below)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// 2026-11-23 00:00:00 UTC.
    const MIDNIGHT: i64 = 1_795_392_000_000;
    const HOUR: i64 = 3_600_000;

    fn hours(from: &str, to: &str, limit_kbps: u64) -> QuietHours {
        QuietHours { from: from.to_owned(), to: to.to_owned(), limit_kbps }
    }

    fn wish(limit_kbps: Option<u64>, quiet: &[QuietHours]) -> GivingWish {
        GivingWish { limit_kbps, paused: false, zone: Some("UTC".to_owned()), quiet: quiet.to_vec() }
    }

    fn given(wish: &GivingWish, ceiling_bps: Option<u64>, minute: Option<u16>) -> (Option<u64>, GivingWhy) {
        let given = Wish::check(wish.clone()).unwrap().given(ceiling_bps, minute);
        (given.bps, given.why)
    }

    #[test]
    fn the_least_of_all_limits_holds() {
        use GivingWhy::{Free, Limit, Paused, Quiet};
        let night = [hours("22:00", "07:00", 0), hours("12:00", "13:30", 500)];
        let free = wish(None, &night);
        let at = |minute| given(&free, None, minute);
        // Over midnight, with the minute it begins in it and the one it ends not.
        assert_eq!(at(Some(22 * 60 - 1)), (None, Free));
        for minute in [22 * 60, 24 * 60 - 1, 0, 7 * 60 - 1] {
            assert_eq!(at(Some(minute)), (Some(0), Quiet), "{minute}");
        }
        assert_eq!(at(Some(7 * 60)), (None, Free));
        assert_eq!((at(Some(12 * 60)), at(Some(13 * 60 + 30))), ((Some(500_000), Quiet), (None, Free)));
        // At 1970 nobody knows the time.
        assert_eq!(at(None), (None, Free));

        let limited = wish(Some(3000), &night);
        assert_eq!(given(&limited, None, Some(600)), (Some(3_000_000), Limit));
        assert_eq!(given(&limited, Some(2_000_000), Some(600)), (Some(2_000_000), Limit));
        assert_eq!(given(&limited, Some(400_000), Some(720)), (Some(400_000), Limit), "below the quiet one");
        assert_eq!(given(&limited, None, None), (Some(3_000_000), Limit));
        let paused = GivingWish { paused: true, ..limited };
        assert_eq!(given(&paused, None, None), (Some(0), Paused));

        let both = wish(None, &[hours("20:00", "23:00", 800), hours("22:00", "06:00", 200)]);
        assert_eq!(given(&both, None, Some(22 * 60)), (Some(200_000), Quiet));
    }

    #[test]
    fn a_mistake_is_named() {
        let check = |wish: GivingWish, expected: &str| assert_eq!(Wish::check(wish).unwrap_err(), expected);
        check(wish(None, &[hours("22", "07:00", 0)]), "\"22\" is no time like 22:00");
        check(wish(None, &[hours("22:00", "24:00", 0)]), "\"24:00\" is no time like 22:00");
        check(wish(None, &[hours("+1:00", "02:00", 0)]), "\"+1:00\" is no time like 22:00");
        check(
            wish(None, &[hours("07:00", "07:00", 0)]),
            "from 07:00 to 07:00 is no time at all: pause instead",
        );
        check(wish(Some(u64::MAX), &[]), "a limit is at most 10000000 kbit/s");
        check(wish(None, &vec![hours("01:00", "02:00", 0); 9]), "there are at most 8 quiet times");
        let nowhere = GivingWish { zone: Some("Europe/Nowhere".to_owned()), ..GivingWish::default() };
        check(nowhere, "there is no time zone \"Europe/Nowhere\"");
    }

    #[test]
    fn the_wall_clock_is_that_of_the_zone() {
        let dir = scratch("zone");
        let giving = Giving::with_clock(&dir, None, Box::new(|| MIDNIGHT + 5 * HOUR)).unwrap();
        let zone = |name: &str| GivingWish { zone: Some(name.to_owned()), ..GivingWish::default() };
        for (name, time) in [
            ("UTC", "05:00"),
            ("Europe/Berlin", "06:00"),
            ("America/New_York", "00:00"),
            ("Asia/Kolkata", "10:30"),
        ] {
            giving.set(zone(name)).unwrap();
            assert_eq!(giving.view(0).local_time.as_deref(), Some(time), "{name}");
        }
        // In July New York is an hour nearer.
        let july = Giving::with_clock(&dir, None, Box::new(|| MIDNIGHT - 130 * 24 * HOUR)).unwrap();
        july.set(zone("America/New_York")).unwrap();
        assert_eq!(july.view(0).local_time.as_deref(), Some("20:00"));
        let new = Giving::with_clock(&dir, None, Box::new(|| 86_400_000)).unwrap();
        assert_eq!(new.view(0).local_time, None, "1970");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn quiet_hours_begin_by_themselves_and_stay_over_a_restart() {
        let dir = scratch("restart");
        let clock = Arc::new(AtomicI64::new(MIDNIGHT + 21 * HOUR));
        let open = || {
            let clock = Arc::clone(&clock);
            Giving::with_clock(&dir, Some(5_000_000), Box::new(move || clock.load(Ordering::Relaxed)))
                .unwrap()
        };
        let giving = open();
        assert_eq!(giving.limit_bps(), Some(5_000_000));
        let mut changes = giving.changes();
        giving.set(wish(Some(3000), &[hours("22:00", "07:00", 0)])).unwrap();
        assert_eq!(*changes.borrow_and_update(), Some(3_000_000));
        clock.store(MIDNIGHT + 22 * HOUR, Ordering::Relaxed);
        giving.look();
        assert!(changes.has_changed().unwrap());
        let view = giving.view(1234);
        assert_eq!(
            (view.now_kbps, view.why, view.until.as_deref()),
            (Some(0), GivingWhy::Quiet, Some("07:00"))
        );
        assert_eq!((view.sending_bps, view.ceiling_kbps), (1234, Some(5000)));

        let again = open();
        assert_eq!((again.limit_bps(), again.view(0).wish), (Some(0), giving.view(0).wish));
        clock.store(MIDNIGHT + 31 * HOUR, Ordering::Relaxed);
        again.look();
        assert_eq!(again.limit_bps(), Some(3_000_000));
        assert!(again.set(wish(None, &[hours("x", "07:00", 0)])).is_err());
        assert_eq!(again.limit_bps(), Some(3_000_000), "a mistake changes nothing");
        fs::remove_dir_all(dir).unwrap();
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("relayd-giving-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }
}
