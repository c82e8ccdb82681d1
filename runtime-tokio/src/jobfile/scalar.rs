//! Values of the job file that people write as words: durations, rates, datacenters, methods, status codes. Each
//! says what would be right when it is wrong; the position comes from the TOML reader.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A span of time in whole milliseconds, 1 ms to 24 h, written as `"10s"`, `"250ms"` or `"1h30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(u32);

impl HumanDuration {
    /// The longest: 24 h.
    pub const MAX_MS: u32 = 24 * 3_600 * 1_000;

    /// From milliseconds.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }
    /// In milliseconds.
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// Reads `1h30m`, `2.5s` and the like. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{text:?} is not a duration: {why}, as in \"10s\" or \"1h30m\""));
        let mut rest = text.trim();
        if rest.is_empty() {
            return wrong("give a number and a unit");
        }
        let (mut total_us, mut last_unit_us) = (0u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit_us = match unit {
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" => 60_000_000,
                "h" => 3_600_000_000,
                "" => return wrong("every number needs a unit (ms, s, m, h)"),
                _ => return wrong("the units are ms, s, m and h"),
            };
            if unit_us >= last_unit_us {
                return wrong("write longer units first and each once");
            }
            let Some(part) = decimal_millionths(number).and_then(|n| n.checked_mul(unit_us)) else {
                return wrong("give a number and a unit");
            };
            total_us = total_us.saturating_add(part / 1_000_000);
            (last_unit_us, rest) = (unit_us, tail);
        }
        match u32::try_from(total_us / 1_000) {
            Ok(0) => Err(format!("{text:?} is too short: at least 1ms")),
            Ok(millis) if millis <= Self::MAX_MS => Ok(Self(millis)),
            _ => Err(format!("{text:?} is too long: at most 24h")),
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// A decimal number in millionths: `2.5` is 2,500,000. `None` for anything else, or over 9e12.
pub(super) fn decimal_millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 6 {
        return None;
    }
    let scale = 10u64.pow(6 - fraction.len() as u32);
    whole
        .parse::<u64>()
        .ok()
        .filter(|n| *n <= 9_000_000_000_000)?
        .checked_mul(1_000_000)?
        .checked_add(fraction.parse::<u64>().ok()? * scale)
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = HumanDuration;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes such as \"10s\" or \"1h30m\"")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
        HumanDuration::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number and a unit (ms, s, m, h), longer units first; 1ms to 24h.",
            "pattern": "^([0-9]+(\\.[0-9]{1,6})?h)?([0-9]+(\\.[0-9]{1,6})?m)?([0-9]+(\\.[0-9]{1,6})?s)?([0-9]+(\\.[0-9]{1,6})?ms)?$",
            "minLength": 2,
            "examples": ["10s", "250ms", "1h30m"]
        })
    }
}

/// Arrivals per 1,000 s; written as a number a second, or `"500/s"`, `"30/m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

impl Rate {
    /// The highest: 10 million a second.
    pub const MAX_PER_SECOND: u64 = 10_000_000;

    fn from_millionths(millionths: u64, per_seconds: u64) -> Result<Self, String> {
        let milli = millionths / 1_000 / per_seconds;
        if milli == 0 {
            return Err("the rate must be more than 0: at least 1 arrival in 1000 s (0.001)".to_string());
        }
        if milli > Self::MAX_PER_SECOND * 1_000 {
            return Err(format!("the rate is over {} a second", Self::MAX_PER_SECOND));
        }
        Ok(Self(milli))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a rate: write a number a second, or \"500/s\", \"30/m\", \"1000/h\"");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(wrong()),
        };
        Self::from_millionths(decimal_millionths(number.trim()).ok_or_else(wrong)?, seconds)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate: a number a second, or text such as \"500/s\" or \"30/m\"")
    }
    fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Rate, E> {
        let millionths = u64::try_from(rate).unwrap_or(0).saturating_mul(1_000_000);
        Rate::from_millionths(millionths, 1).map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, rate: f64) -> Result<Rate, E> {
        if !rate.is_finite() {
            return Err(E::custom("the rate must be a finite number"));
        }
        // `as` saturates: negative is 0 and is refused below.
        Rate::from_millionths((rate * 1e6).round() as u64, 1).map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        Rate::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Arrivals a second, or text with its unit.",
            "anyOf": [
                { "type": "number", "minimum": 0.001, "maximum": 10_000_000 },
                { "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})? */ *[smh]$" }
            ],
            "examples": [500, "500/s", "30/m"]
        })
    }
}

/// Where a job runs: `"any"`, `{ count = 2 }`, or names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Datacenters {
    /// The gate's best.
    #[default]
    Any,
    /// This many, the gate's best.
    Count(u16),
    /// Exactly these.
    Only(Vec<String>),
}

struct DatacentersVisitor;

impl<'de> Visitor<'de> for DatacentersVisitor {
    type Value = Datacenters;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"any\", { count = 2 }, or a list of names such as [\"eu\", \"us\"]")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Datacenters, E> {
        match text {
            "any" => Ok(Datacenters::Any),
            name => Err(E::custom(format!(
                "datacenters is \"any\", {{ count = 2 }} or a list; for one by name write [{name:?}]"
            ))),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Datacenters, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element::<String>()? {
            names.push(name);
        }
        Ok(Datacenters::Only(names))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Datacenters, A::Error> {
        let mut count = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "count" {
                return Err(de::Error::unknown_field(&key, &["count"]));
            }
            count = Some(map.next_value::<u16>()?);
        }
        count.map(Datacenters::Count).ok_or_else(|| de::Error::missing_field("count"))
    }
}

impl<'de> Deserialize<'de> for Datacenters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DatacentersVisitor)
    }
}

impl JsonSchema for Datacenters {
    fn schema_name() -> Cow<'static, str> {
        "Datacenters".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Any one, so many, or exactly these.",
            "anyOf": [
                { "const": "any" },
                {
                    "type": "object",
                    "properties": { "count": { "type": "integer", "minimum": 1, "maximum": 64 } },
                    "required": ["count"],
                    "additionalProperties": false
                },
                {
                    "type": "array",
                    "items": { "type": "string", "pattern": "^[a-z0-9-]{1,24}$" },
                    "minItems": 1,
                    "maxItems": 64,
                    "uniqueItems": true
                }
            ]
        })
    }
}

/// An HTTP method, in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub http::Method);

impl Method {
    const KNOWN: [&'static str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
}

impl Default for Method {
    fn default() -> Self {
        Self(http::Method::GET)
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Self::KNOWN.contains(&text.as_str()) {
            return text.parse().map(Self).map_err(de::Error::custom);
        }
        let upper = text.to_ascii_uppercase();
        Err(de::Error::custom(if Self::KNOWN.contains(&upper.as_str()) {
            format!("methods are written in capitals: {upper:?}")
        } else {
            format!("{text:?} is not a method that can be used: {}", Self::KNOWN.join(", "))
        }))
    }
}

impl JsonSchema for Method {
    fn schema_name() -> Cow<'static, str> {
        "Method".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Self::KNOWN, "default": "GET" })
    }
}

/// Status codes, as inclusive ranges. Without any written: 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(pub Vec<(u16, u16)>);

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl StatusSet {
    fn code(code: i64) -> Result<(u16, u16), String> {
        match u16::try_from(code) {
            Ok(code) if (100..=599).contains(&code) => Ok((code, code)),
            _ => Err(format!("{code} is not a status code: 100 to 599, or \"2xx\"")),
        }
    }

    fn class(text: &str) -> Result<(u16, u16), String> {
        match text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => {
                let first = u16::from(class - b'0') * 100;
                Ok((first, first + 99))
            }
            _ => Err(format!("{text:?} is no set of status codes: write 200, \"2xx\", or a list of these")),
        }
    }
}

/// One element of a list of status codes.
struct StatusRange(u16, u16);

struct RangeVisitor;

impl Visitor<'_> for RangeVisitor {
    type Value = StatusRange;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status code such as 200, or a class such as \"2xx\"")
    }
    fn visit_i64<E: de::Error>(self, code: i64) -> Result<StatusRange, E> {
        StatusSet::code(code).map(|(low, high)| StatusRange(low, high)).map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusRange, E> {
        StatusSet::class(text).map(|(low, high)| StatusRange(low, high)).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RangeVisitor)
    }
}

struct StatusVisitor;

impl<'de> Visitor<'de> for StatusVisitor {
    type Value = StatusSet;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status code such as 200, a class such as \"2xx\", or a list of these")
    }
    fn visit_i64<E: de::Error>(self, code: i64) -> Result<StatusSet, E> {
        StatusSet::code(code).map(|range| StatusSet(vec![range])).map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusSet, E> {
        StatusSet::class(text).map(|range| StatusSet(vec![range])).map_err(E::custom)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StatusSet, A::Error> {
        let mut ranges = Vec::new();
        while let Some(StatusRange(low, high)) = seq.next_element()? {
            ranges.push((low, high));
        }
        if ranges.is_empty() {
            return Err(de::Error::custom("the list of status codes is empty: nothing could be ok"));
        }
        Ok(StatusSet(ranges))
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

impl JsonSchema for StatusSet {
    fn schema_name() -> Cow<'static, str> {
        "StatusSet".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!([
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^[1-5]xx$" }
        ]);
        json_schema!({
            "description": "Status codes that count as ok.",
            "anyOf": [one[0], one[1], { "type": "array", "items": { "anyOf": one }, "minItems": 1 }]
        })
    }
}
