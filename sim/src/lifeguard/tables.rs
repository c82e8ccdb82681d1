//! Rows of the experiments, as text and as JSON, with the paper's beside them.

use super::world::Anomaly;
use super::{Config, Sum};

/// One configuration in one experiment.
pub struct Line {
    /// `threshold` or `interval`.
    pub experiment: &'static str,
    /// How members were blocked.
    pub anomaly: Anomaly,
    /// The configuration.
    pub config: Config,
    /// Its shortest suspicion.
    pub alpha: f64,
    /// Its longest.
    pub beta: f64,
    /// What came out.
    pub sum: Sum,
    /// Seconds of wall time.
    pub wall_s: f64,
}

/// The value below which this part of them lies (nearest rank); none of none.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len().max(1) - 1) as f64 * part).round() as usize;
    sorted.get(place).copied()
}

/// The paper's row of a configuration at alpha 5, beta 6: first detection (median, 99th, 99.9th) and full
/// dissemination (median) in seconds from table V; FP and FP- of 4,320 runs from table IV; messages in percent of
/// SWIM's from table VI.
fn paper(config: Config) -> Option<([f64; 4], [f64; 2], f64)> {
    Some(match config {
        Config::Swim => ([12.44, 16.96, 19.40, 12.90], [339_002.0, 1_326.0], 100.0),
        Config::LhaProbe => ([12.42, 17.75, 20.10, 12.90], [229_574.0, 436.0], 98.46),
        Config::LhaSuspicion => ([12.42, 17.47, 25.41, 12.89], [10_174.0, 89.0], 111.31),
        Config::Buddy => ([12.45, 17.12, 19.16, 12.92], [318_935.0, 591.0], 100.07),
        Config::Lifeguard => ([12.45, 17.90, 21.20, 12.91], [5_193.0, 25.0], 110.59),
        Config::Memberlist | Config::Ours | Config::Node => return None,
    })
}
const PAPER_RUNS: f64 = 4_320.0;

impl Line {
    /// One JSON object.
    pub fn json(&self) -> String {
        let sum = &self.sum;
        let seconds = |values: &[f64], part| match quantile(values, part) {
            Some(value) => format!("{value:.3}"),
            None => "null".into(),
        };
        format!(
            concat!(
                "{{\"experiment\":\"{}{}\",\"config\":\"{}\",\"alpha\":{},\"beta\":{},\"runs\":{},\"fp\":{},",
                "\"fp_healthy\":{},\"first_median_s\":{},\"first_p99_s\":{},\"first_p999_s\":{},",
                "\"full_median_s\":{},\"messages\":{},\"wall_s\":{:.1}}}"
            ),
            self.experiment,
            suffix(self.anomaly),
            self.config.name(),
            self.alpha,
            self.beta,
            sum.runs,
            sum.fp,
            sum.fp_healthy,
            seconds(&sum.first_s, 0.5),
            seconds(&sum.first_s, 0.99),
            seconds(&sum.first_s, 0.999),
            seconds(&sum.full_s, 0.5),
            sum.messages,
            self.wall_s,
        )
    }

    /// A line of text; percentages are of `swim`, the plain row of the same experiment.
    pub fn text(&self, swim: Option<&Self>) -> String {
        match self.experiment {
            "threshold" => self.latency(),
            _ => self.accuracy(swim),
        }
    }

    /// What the row misses of what it is held to, beside the plain row of the same experiment. A plain row has to stay
    /// near the paper, or the shares of it mean nothing; ours are held to shares of it.
    pub fn misses(&self, swim: Option<&Self>) -> Vec<String> {
        let mut misses = Vec::new();
        let mut hold = |what: &str, value: f64, most: f64| {
            // Not a number is a miss as well: nothing was measured.
            if value.is_nan() || value > most {
                misses.push(format!("{what} is {value:.4}, not at most {most}"));
            }
        };
        let per_run = |sum: &Sum, value: u64| value as f64 / sum.runs as f64;
        let of = |line: &Self, part| quantile(&line.sum.first_s, part).unwrap_or(f64::NAN);
        let (sum, patient) = (&self.sum, self.alpha >= 5.0);
        let paper_fp = 339_002.0 / PAPER_RUNS;
        match (self.config, self.experiment, swim) {
            (Config::Swim, "threshold", _) => {
                hold(
                    "first detection, off the paper's in %",
                    100.0 * (of(self, 0.5) / 12.44 - 1.0).abs(),
                    6.0,
                );
            }
            (Config::Swim, _, _) if self.anomaly == Anomaly::Loops => {
                let share = per_run(sum, sum.fp) / paper_fp;
                hold("false positives a run, off the paper's by", share.max(share.recip()), 3.0);
            }
            (Config::Ours, "threshold", Some(swim)) => {
                let share = |part| 100.0 * of(self, part) / of(swim, part);
                hold(
                    "first detection, median in % of swim's",
                    share(0.5),
                    if patient { 101.0 } else { 50.0 },
                );
                if patient {
                    hold("first detection, 99.9th percentile in % of swim's", share(0.999), 110.0);
                }
            }
            (Config::Ours | Config::Node, "interval", swim) => {
                hold("false positives of a run at healthy members", per_run(sum, sum.fp_healthy), 0.01);
                if let (Some(swim), Config::Ours, Anomaly::Loops) = (swim, self.config, self.anomaly) {
                    let share = |value: fn(&Sum) -> u64| {
                        100.0 * per_run(sum, value(sum)) / per_run(&swim.sum, value(&swim.sum))
                    };
                    hold(
                        "false positives in % of swim's",
                        share(|sum| sum.fp),
                        if patient { 0.05 } else { 0.1 },
                    );
                    if patient {
                        hold("messages in % of swim's", share(|sum| sum.messages), 111.0);
                    }
                }
            }
            _ => {}
        }
        misses
    }

    fn latency(&self) -> String {
        let sum = &self.sum;
        let of = |values: &[f64], part| quantile(values, part).unwrap_or(f64::NAN);
        let shown = |values: [f64; 4]| values.map(|value| format!("{value:>6.2}")).join(" ");
        let ours =
            [of(&sum.first_s, 0.5), of(&sum.first_s, 0.99), of(&sum.first_s, 0.999), of(&sum.full_s, 0.5)];
        let theirs = paper(self.config).map_or(String::new(), |(paper, ..)| shown(paper));
        format!(
            "{:<14} {:>4} {:>4} {:>6} {:>7} {:>6} {}   {theirs}",
            self.config.name(),
            self.alpha,
            self.beta,
            sum.runs,
            sum.first_s.len(),
            sum.full_s.len(),
            shown(ours),
        )
    }

    fn accuracy(&self, swim: Option<&Self>) -> String {
        let sum = &self.sum;
        let runs = sum.runs.max(1) as f64;
        let per_run = |value: u64| value as f64 / runs;
        let share = |value: f64, of: fn(&Sum) -> u64| {
            swim.map_or(f64::NAN, |swim| 100.0 * value / (of(&swim.sum) as f64 / swim.sum.runs.max(1) as f64))
        };
        let spread: Vec<f64> = sum.fp_of_runs.iter().map(|fp| f64::from(*fp)).collect();
        let theirs = paper(self.config).map_or(String::new(), |(_, [fp, fp_healthy], messages)| {
            let swim = 339_002.0;
            format!(
                "{:>8.2} {:>7.4} {:>8.3} {messages:>7.2}",
                fp / PAPER_RUNS,
                fp_healthy / PAPER_RUNS,
                100.0 * fp / swim
            )
        });
        format!(
            "{:<14} {:>4} {:>4} {:>6} {:>9.4} {:>8.4} {:>8.3} {:>7.2} {:>8.0} {:>6.0} {:>6.0}   {theirs}",
            self.config.name(),
            self.alpha,
            self.beta,
            sum.runs,
            per_run(sum.fp),
            per_run(sum.fp_healthy),
            share(per_run(sum.fp), |sum| sum.fp),
            share(per_run(sum.messages), |sum| sum.messages),
            per_run(sum.messages),
            quantile(&spread, 0.5).unwrap_or(0.0),
            quantile(&spread, 0.9).unwrap_or(0.0),
        )
    }
}

/// What the name of an experiment has added where members are not blocked as in the paper.
fn suffix(anomaly: Anomaly) -> &'static str {
    match anomaly {
        Anomaly::Loops => "",
        Anomaly::Frozen => "-frozen",
        Anomaly::Io => "-io",
    }
}

/// What stands above the rows of an experiment.
pub fn heading(experiment: &str, anomaly: Anomaly) -> String {
    let head = match experiment {
        "threshold" => concat!(
            "threshold: seconds to the first detection, and until everyone healthy knew   | paper, table V\n",
            "config            a    b   runs   found   full median  p99  p99.9   full        ",
            "median  p99  p99.9   full"
        ),
        _ => concat!(
            "interval: false positives and messages of a run; % of the swim row           | paper, tables IV and VI\n",
            "config            a    b   runs    FP/run  FP-/run     FP %  msgs %  msgs/run  FP p50 p90     ",
            "FP/run FP-/run     FP %  msgs %"
        ),
    };
    match anomaly {
        Anomaly::Loops => head.into(),
        _ => format!("{experiment}{}\n{head}", suffix(anomaly)),
    }
}
