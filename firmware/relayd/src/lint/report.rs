//! What was found: broken rules, each with how often and its first examples, and what was looked at.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use crate::lint::rule::{Rule, Severity};

/// Examples kept of each rule; further ones are only counted.
const EXAMPLES_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Report {
    broken: BTreeMap<Rule, Finding>,
    pub(crate) looked_at: LookedAt,
}

#[derive(Debug, Default)]
struct Finding {
    count: u64,
    examples: Vec<String>,
}

/// How much was read: a report without findings says nothing if this is empty.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LookedAt {
    pub(crate) playlists: u64,
    pub(crate) media_playlist_uris: u64,
    pub(crate) segments: u64,
    pub(crate) parts: u64,
    pub(crate) media_bytes: u64,
    pub(crate) blocking_reloads: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_bps: u64,
    /// The largest distance of the starts of audio and video in a segment.
    pub(crate) av_offset_ms_max: f64,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    rule: Rule,
    severity: Severity,
    source: &'a str,
    says: &'a str,
    count: u64,
    examples: &'a [String],
}

#[derive(Serialize)]
struct JsonReport<'a> {
    url: &'a str,
    ok: bool,
    findings: Vec<JsonFinding<'a>>,
    looked_at: &'a LookedAt,
}

impl Report {
    pub(crate) fn add(&mut self, rule: Rule, example: impl Into<String>) {
        let finding = self.broken.entry(rule).or_default();
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(example.into());
        }
    }

    /// Whether no rule of this severity or a greater one is broken.
    pub(crate) fn passes(&self, least: Severity) -> bool {
        self.broken.keys().all(|rule| rule.severity() < least)
    }

    #[cfg(test)]
    pub(crate) fn broken(&self) -> Vec<Rule> {
        self.broken.keys().copied().collect()
    }

    pub(crate) fn json(&self, url: &str, least: Severity) -> serde_json::Result<String> {
        let findings = self.broken.iter().map(|(rule, finding)| JsonFinding {
            rule: *rule,
            severity: rule.severity(),
            source: rule.section(),
            says: rule.says(),
            count: finding.count,
            examples: &finding.examples,
        });
        let report = JsonReport {
            url,
            ok: self.passes(least),
            findings: findings.collect(),
            looked_at: &self.looked_at,
        };
        serde_json::to_string_pretty(&report)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.looked_at;
        writeln!(
            f,
            "looked at {} playlists, {} segments, {} parts, {:.1} MB in {:.0} s; peak {:.2} Mbit/s, A/V start offset up to {:.1} ms",
            seen.playlists,
            seen.segments,
            seen.parts,
            seen.media_bytes as f64 / 1e6,
            seen.seconds,
            seen.peak_bps as f64 / 1e6,
            seen.av_offset_ms_max
        )?;
        if self.broken.is_empty() {
            return writeln!(f, "no rule is broken");
        }
        for (rule, finding) in &self.broken {
            let severity = match rule.severity() {
                Severity::Error => "ERROR",
                Severity::Warning => "warning",
            };
            let source = rule.section();
            let source = if source.starts_with(|c: char| c.is_ascii_digit()) {
                format!("RFC 8216bis {source}")
            } else {
                source.to_owned()
            };
            writeln!(f, "{severity:7} {:24} {:5}x  {} ({source})", rule.id(), finding.count, rule.says())?;
            let mut examples = String::new();
            for example in &finding.examples {
                writeln!(examples, "        {example}")?;
            }
            f.write_str(&examples)?;
        }
        Ok(())
    }
}
