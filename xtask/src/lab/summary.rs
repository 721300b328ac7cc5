//! What a run of many cells says: the share that connected, and the share that went straight, weighted by how common
//! the routers are.

use std::time::Duration;

use super::cell::Outcome;
use super::expect::{Company, Weights};
use super::kind::Cell;
use super::meter::PathType;

/// The share of direct pairs that has to be reached, in percent.
pub(crate) const DIRECT_PERCENT_MIN: f64 = 90.0;

/// In percent; `None` unless all 64 cells of this company are there.
pub(crate) fn direct_percent(outcomes: &[Outcome], company: Company, weights: &Weights) -> Option<f64> {
    let share =
        |cell: Cell| f64::from(weights.percent[&cell.0]) * f64::from(weights.percent[&cell.1]) / 100.0;
    let mut direct = 0.0;
    for cell in Cell::all() {
        // A pair of routers is the same pair in either order.
        let outcome = outcomes.iter().find(|outcome| {
            outcome.company == company && [cell, Cell(cell.1, cell.0)].contains(&outcome.cell)
        })?;
        if outcome.seen == Some(PathType::Direct) {
            direct += share(cell);
        }
    }
    Some(direct)
}

/// The time that this share of a list of times does not exceed.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Option<Duration> {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.checked_sub(1)?).copied()
}

/// Lines for the end of a run.
pub(crate) fn lines(outcomes: &[Outcome], weights: &[Weights]) -> Vec<String> {
    let connected = outcomes.iter().filter(|outcome| outcome.seen.is_some()).count();
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    let mut lines = vec![format!(
        "cells: {}, as expected or better: {passed}, connected: {connected} ({:.0} %)",
        outcomes.len(),
        connected as f64 * 100.0 / outcomes.len().max(1) as f64
    )];
    let mut times: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.first_byte).collect();
    if let (Some(half), Some(most)) = (percentile(&mut times, 50), percentile(&mut times, 95)) {
        lines.push(format!(
            "from `relayd join` to the first byte: median {:.1} s, 95th percentile {:.1} s",
            half.as_secs_f64(),
            most.as_secs_f64()
        ));
    }
    for company in [Company::Alone, Company::Carol] {
        for weights in weights {
            if let Some(percent) = direct_percent(outcomes, company, weights) {
                lines.push(format!("direct, {company}, weighted by {}: {percent:.1} %", weights.name));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::expect::Expectation;

    fn as_promised(company: Company) -> (Vec<Outcome>, Vec<Weights>) {
        let expectation = Expectation::read().unwrap();
        let outcome = |cell| Outcome {
            cell,
            company,
            expected: expectation.path(company, cell),
            seen: Some(expectation.path(company, cell)),
            first_byte: Some(Duration::from_secs(2)),
            settled: None,
            remark: String::new(),
        };
        (Cell::all().map(outcome).collect(), expectation.weights)
    }

    #[test]
    fn the_page_promises_what_the_page_says() {
        for company in [Company::Alone, Company::Carol] {
            let (outcomes, weights) = as_promised(company);
            let shares: Vec<i64> = weights
                .iter()
                .map(|weights| direct_percent(&outcomes, company, weights).unwrap().round() as i64)
                .collect();
            assert_eq!(shares, [92, 91]);
        }
    }

    #[test]
    fn half_of_the_cells_are_enough_and_a_missing_one_is_not() {
        let (mut outcomes, weights) = as_promised(Company::Alone);
        outcomes.retain(|outcome| outcome.cell.0 <= outcome.cell.1);
        assert_eq!(outcomes.len(), 36);
        assert!(direct_percent(&outcomes, Company::Alone, &weights[0]).is_some());
        outcomes.pop();
        assert!(direct_percent(&outcomes, Company::Alone, &weights[0]).is_none());
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<Duration> = (1..=20).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(&mut times, 95), Some(Duration::from_secs(19)));
        assert_eq!(percentile(&mut times, 50), Some(Duration::from_secs(10)));
        assert_eq!(percentile(&mut [], 95), None);
    }
}
