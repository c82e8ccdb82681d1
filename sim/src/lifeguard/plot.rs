//! Detection time against false positives, as a picture: the threshold experiment gives the one axis, the interval
//! experiment the other, and alpha moves a configuration along its curve.

use std::fmt::Write as _;

use super::tables::quantile;
use super::world::Anomaly;
use super::{Config, Task, interval, threshold};

/// The configurations that are drawn, with their colours.
const CURVES: [(Config, &str); 3] =
    [(Config::Swim, "#b4442e"), (Config::Lifeguard, "#2b6cb0"), (Config::Ours, "#2f855a")];
/// Where each curve is measured.
const ALPHAS: [f64; 3] = [2.0, 3.5, 5.0];
/// Pixels: the picture, and what lies left of and below the axes.
const SIZE: (f64, f64) = (640.0, 400.0);
const MARGIN: (f64, f64) = (64.0, 48.0);
/// The axes: seconds, and powers of ten of false positives a run. Below the least lies what was not seen at all.
const SECONDS: (f64, f64) = (5.0, 14.0);
const DECADES: (i32, i32) = (-3, 4);

/// One measured configuration.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    config: Config,
    alpha: f64,
    /// The median of the first detection.
    first_s: f64,
    /// False positives of a run.
    fp: f64,
}

/// Measures all points.
pub fn points(repetitions: u64, sample: u64, seed: u64) -> Vec<Point> {
    let all = CURVES.iter().flat_map(|(config, _)| ALPHAS.map(|alpha| (*config, alpha)));
    let measure = |(config, alpha): (Config, f64)| {
        let rules = config.rules(Some(alpha), None);
        let task = Task { rules, anomaly: Anomaly::Loops, repetitions, sample, seed };
        let sum = interval(&task);
        // The grid of this one is an eighth of the other's.
        let first = threshold(&Task { sample: sample.div_ceil(8), ..task }).first_s;
        let first_s = quantile(&first, 0.5).unwrap_or(f64::NAN);
        Point { config, alpha, first_s, fp: sum.fp as f64 / sum.runs.max(1) as f64 }
    };
    all.map(measure).collect()
}

/// Draws them.
pub fn svg(points: &[Point]) -> String {
    let (width, height) = SIZE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut draw = |text: String| out.push_str(&text);
    for seconds in (SECONDS.0 as i32..=SECONDS.1 as i32).map(f64::from) {
        let (at, low) = (x(seconds), y(0.0) + 16.0);
        draw(line((at, y(0.0)), (at, y(10f64.powi(DECADES.1))), "#eee"));
        draw(format!("<text x=\"{at:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{seconds}</text>\n"));
    }
    for decade in DECADES.0..=DECADES.1 {
        let value = if decade == DECADES.0 { 0.0 } else { 10f64.powi(decade) };
        let (at, left) = (y(value), MARGIN.0 - 6.0);
        draw(line((x(SECONDS.0), at), (x(SECONDS.1), at), "#eee"));
        draw(format!("<text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n", at + 4.0));
    }
    let middle = x((SECONDS.0 + SECONDS.1) / 2.0);
    draw(format!(
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">median of the first detection, seconds</text>\n\
         <text x=\"8\" y=\"16\">false positives a run</text>\n",
        height - 8.0,
    ));
    for (config, colour) in CURVES {
        draw(curve(config, colour, points));
    }
    out.push_str("</svg>\n");
    out
}

fn curve(config: Config, colour: &str, points: &[Point]) -> String {
    let mut out = String::new();
    let own: Vec<&Point> = points.iter().filter(|point| point.config == config).collect();
    for pair in own.windows(2) {
        let at = |point: &Point| (x(point.first_s), y(point.fp));
        out.push_str(&line(at(pair[0]), at(pair[1]), colour));
    }
    for (n, point) in own.iter().enumerate() {
        let (across, up) = (x(point.first_s), y(point.fp));
        let name = if n + 1 == own.len() { config.name() } else { "" };
        // Writing to a string cannot fail.
        _ = writeln!(
            out,
            "<circle cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name} \u{3b1}{}: {:.3}</text>",
            across + 7.0,
            up - 6.0,
            point.alpha,
            point.fp,
        );
    }
    out
}

fn line(from: (f64, f64), to: (f64, f64), colour: &str) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\"/>\n")
}

/// Where so many seconds lie.
fn x(seconds: f64) -> f64 {
    let part = (seconds - SECONDS.0) / (SECONDS.1 - SECONDS.0);
    MARGIN.0 + part * (SIZE.0 - MARGIN.0 - 90.0)
}

/// Where so many false positives lie: by their logarithm, and none at the bottom.
fn y(fp: f64) -> f64 {
    let (low, high) = (f64::from(DECADES.0), f64::from(DECADES.1));
    let part = (fp.log10().max(low) - low) / (high - low);
    SIZE.1 - MARGIN.1 - part * (SIZE.1 - MARGIN.1 - 28.0)
}
