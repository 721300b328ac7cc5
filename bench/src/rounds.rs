//! Rounds and what comes of them: medians with their range, ratios within a round, verdicts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::publisher::LATE_MS_MAX;

/// One value per key: ours, and the peer's where there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) values: BTreeMap<String, (f64, Option<f64>)>,
    /// Most cores that others kept busy in a window of this round.
    pub(crate) others_cores: f64,
    /// How late the latest frame was that a publisher sent in it.
    pub(crate) late_ms: f64,
}

impl Round {
    pub(crate) fn note(&mut self, key: impl Into<String>, ours: f64, peer: impl Into<Option<f64>>) {
        self.values.insert(key.into(), (ours, peer.into()));
    }

    pub(crate) fn disturbed(&mut self, others_cores: f64, late_ms: f64) {
        self.others_cores = self.others_cores.max(others_cores);
        self.late_ms = self.late_ms.max(late_ms);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    counted: Vec<Round>,
    disturbance: Disturbance,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disturbance {
    /// Rounds that were left out because a publisher was late.
    pub(crate) left_out: usize,
    /// Rounds that count although a publisher was late, since too few were better.
    pub(crate) late: usize,
    pub(crate) load_before: f64,
    pub(crate) others_cores: f64,
}

/// Does `wanted` rounds, and up to as many again in place of those in which a publisher was late.
pub(crate) fn run(name: &str, wanted: usize, mut one: impl FnMut() -> Result<Round>) -> Result<Rounds> {
    let load_before = machine::load();
    let (mut counted, mut late) = (Vec::new(), Vec::new());
    for number in 1..=2 * wanted {
        let round = one().with_context(|| format!("{name}, round {number}"))?;
        let is_late = round.late_ms > LATE_MS_MAX;
        eprintln!("{name} {number}: {}", said(&round));
        if is_late {
            late.push(round);
        } else {
            counted.push(round);
        }
        if counted.len() == wanted {
            break;
        }
    }
    let kept = late.len().min(wanted - counted.len());
    let left_out = late.len() - kept;
    late.sort_by(|a, b| a.late_ms.total_cmp(&b.late_ms));
    counted.extend(late.into_iter().take(kept));
    let others = counted.iter().map(|round| round.others_cores).collect();
    let others_cores = Spread::of(others).context("no rounds")?.median;
    Ok(Rounds { counted, disturbance: Disturbance { left_out, late: kept, load_before, others_cores } })
}

fn said(round: &Round) -> String {
    let values = round.values.iter().map(|(key, (ours, peer))| match peer {
        Some(peer) => format!("{key} {ours:.3} / {peer:.3}"),
        None => format!("{key} {ours:.3}"),
    });
    let values: Vec<String> = values.collect();
    format!(
        "{}; others {:.2} cores, latest frame {:.0} ms",
        values.join(", "),
        round.others_cores,
        round.late_ms
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Spread { median: quantile(&values, 0.5), min, max })
    }
}

/// Of sorted values: the smallest that at least this share of them does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What closes the matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Accept {
    /// So many times the peer at most
    Ratio(f64),
    AtMost(f64),
    /// Measured to be known
    Anything,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ours: Spread,
    pub(crate) peer: Option<Spread>,
    pub(crate) ratio: Option<Spread>,
    pub(crate) accept: Accept,
    pub(crate) rounds: usize,
    pub(crate) disturbance: Disturbance,
}

impl Rounds {
    pub(crate) fn row(&self, key: &str, what: &str, unit: &str, accept: Accept) -> Result<Row> {
        let pairs: Vec<(f64, Option<f64>)> =
            self.counted.iter().filter_map(|round| round.values.get(key).copied()).collect();
        // Nothing lost on either side has no ratio.
        let ratios = pairs.iter().filter_map(|(ours, peer)| peer.map(|peer| ours / peer));
        let ratios = ratios.filter(|ratio| ratio.is_finite()).collect();
        Ok(Row {
            what: what.to_owned(),
            unit: unit.to_owned(),
            ours: Spread::of(pairs.iter().map(|pair| pair.0).collect())
                .with_context(|| format!("nobody measured {key}"))?,
            peer: Spread::of(pairs.iter().filter_map(|pair| pair.1).collect()),
            ratio: Spread::of(ratios),
            accept,
            rounds: pairs.len(),
            disturbance: self.disturbance,
        })
    }
}

impl Row {
    /// None where nothing was demanded.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.accept {
            Accept::Ratio(most) => Some(self.ratio.is_some_and(|ratio| ratio.median <= most)),
            Accept::AtMost(most) => Some(self.ours.median <= most),
            Accept::Anything => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_a_high_quantile_are_values_that_were_measured() {
        let spread = Spread::of(vec![3.0, 1.0, 9.0, 2.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 9.0 });
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), 99.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn nothing_lost_on_either_side_has_no_ratio() {
        let mut left = vec![(0.0, 0.0), (0.0, 0.0)];
        let rounds = run("x", 2, || {
            let ((ours, peer), mut round) = (left.remove(0), Round::default());
            round.note("lost", ours, peer);
            Ok(round)
        });
        let row = rounds.unwrap().row("lost", "lost", "%", Accept::Anything).unwrap();
        assert_eq!(row.ratio, None, "a page is made of what can be read back");
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_late_rounds_are_replaced() {
        let mut left = vec![(1.0, 9.0, 80.0), (4.0, 2.0, 0.0), (3.0, 1.0, 7.0)];
        let rounds = run("x", 2, || {
            let (ours, peer, late_ms) = left.remove(0);
            let mut round = Round { late_ms, ..Round::default() };
            round.note("k", ours, peer);
            Ok(round)
        });
        let row = rounds.unwrap().row("k", "k", "s", Accept::Ratio(2.5)).unwrap();
        assert_eq!(row.ratio, Some(Spread { median: 2.0, min: 2.0, max: 3.0 }));
        assert_eq!((row.disturbance.left_out, row.disturbance.late), (1, 0));
        assert_eq!(row.is_met(), Some(true));
    }
}
