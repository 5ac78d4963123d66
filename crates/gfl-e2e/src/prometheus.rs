//! A strict reader of both metrics formats, written after their specifications and not after what the server writes.
//! What Prometheus itself would forgive is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// The format of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A page: series, as `name{label="value",…}` with the labels in order, and their values.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Types by the family's name as the format has it.
    pub types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    /// The value of a series; labels in alphabetical order.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// All series.
    pub fn series(&self) -> impl Iterator<Item = (&str, f64)> {
        self.series
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }
}

/// A family while it is being read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    has_help: bool,
    has_unit: bool,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a page whole, or says in which line it is wrong.
pub fn read(text: &str, format: Format) -> Result<Page, String> {
    if text.contains('\r') || text.starts_with('\u{feff}') {
        return Err("carriage return or byte order mark".into());
    }
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let open = format == Format::OpenMetrics;
    let body = match text.strip_suffix("# EOF\n") {
        Some(body) if open => body,
        None if !open => text,
        _ => return Err("# EOF belongs at the end of OpenMetrics and nowhere else".into()),
    };
    let mut reader = Reader {
        format,
        page: Page::default(),
        seen: BTreeSet::new(),
        family: Family::default(),
    };
    for (number, line) in (1..).zip(body.lines()) {
        reader
            .line(line)
            .map_err(|why| format!("line {number}: {why}: {line}"))?;
    }
    reader.close()?;
    Ok(reader.page)
}

struct Reader {
    format: Format,
    page: Page,
    seen: BTreeSet<String>,
    family: Family,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(meta) = line.strip_prefix("# ") {
            return self.meta(meta);
        }
        if line.is_empty() || line.starts_with('#') {
            return Err("neither a sample nor metadata".into());
        }
        let sample = sample(line)?;
        let belongs = suffixes(&self.family.kind, self.format)
            .iter()
            .any(|suffix| sample.name == format!("{}{suffix}", self.family.name));
        if !belongs {
            return Err(format!("no sample of the family {:?}", self.family.name));
        }
        self.family.samples.push(sample);
        Ok(())
    }

    fn meta(&mut self, meta: &str) -> Result<(), String> {
        let mut words = meta.splitn(3, ' ');
        let (keyword, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let rest = words.next().ok_or("metadata without a value")?;
        if !is_name(name, true) {
            return Err("no metric name".into());
        }
        let opens = match self.format {
            Format::Text => "HELP",
            Format::OpenMetrics => "TYPE",
        };
        if keyword == opens {
            self.close()?;
            if !self.seen.insert(name.to_owned()) {
                return Err("a family in two places".into());
            }
            self.family.name = name.to_owned();
        }
        if name != self.family.name || !self.family.samples.is_empty() {
            return Err("metadata outside of its family's beginning".into());
        }
        match keyword {
            "HELP" => {
                self.family.has_help = true;
                unescaped(rest, self.format == Format::OpenMetrics).map(drop)
            }
            "TYPE" => {
                self.family.kind = rest.to_owned();
                Ok(())
            }
            "UNIT" if self.format == Format::OpenMetrics && !self.family.has_help => {
                self.family.has_unit = true;
                let fits = name.strip_suffix(rest).is_some_and(|n| n.ends_with('_'));
                fits.then_some(())
                    .ok_or_else(|| "another unit than the name".into())
            }
            _ => Err("unknown or misplaced metadata".into()),
        }
    }

    /// Checks a family that is complete.
    fn close(&mut self) -> Result<(), String> {
        let family = std::mem::take(&mut self.family);
        if family.name.is_empty() {
            return Ok(());
        }
        let wrong = |why: &str| Err(format!("family {}: {why}", family.name));
        let open = self.format == Format::OpenMetrics;
        let kinds: &[&str] = if open {
            &["counter", "gauge", "histogram", "info"]
        } else {
            &["counter", "gauge", "histogram"]
        };
        if !family.has_help || !kinds.contains(&family.kind.as_str()) {
            return wrong("no help, or no type of this format");
        }
        let has_unit = ["_seconds", "_bytes"]
            .iter()
            .any(|u| family.name.ends_with(u));
        if open && has_unit != family.has_unit {
            return wrong("a unit in the name must be told, and no other");
        }
        if open && family.kind == "counter" && family.name.ends_with("_total") {
            return wrong("a counter's family is named without _total");
        }
        if !open && family.kind == "counter" && !family.name.ends_with("_total") {
            return wrong("a counter without _total");
        }
        for sample in &family.samples {
            let counts = family.kind != "gauge";
            if counts && (sample.value < 0.0 || sample.value.is_nan()) {
                return wrong("a count below zero");
            }
            let labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let series = match labels.len() {
                0 => sample.name.clone(),
                _ => format!("{}{{{}}}", sample.name, labels.join(",")),
            };
            if self
                .page
                .series
                .insert(series.clone(), sample.value)
                .is_some()
            {
                return wrong(&format!("{series} twice"));
            }
        }
        if family.kind == "histogram" {
            histogram(&family, open).map_err(|why| format!("family {}: {why}", family.name))?;
        }
        self.page.types.insert(family.name, family.kind);
        Ok(())
    }
}

fn suffixes(kind: &str, format: Format) -> &'static [&'static str] {
    match (kind, format) {
        ("counter", Format::OpenMetrics) => &["_total"],
        ("info", _) => &["_info"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[""],
    }
}

/// Buckets rise, end with `+Inf`, and agree with count and sum.
fn histogram(family: &Family, open: bool) -> Result<(), String> {
    type Bucket = (f64, f64);
    let mut groups: BTreeMap<String, (Vec<Bucket>, Option<f64>, bool)> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le");
        let group = groups.entry(format!("{labels:?}")).or_default();
        match (sample.name.strip_prefix(&family.name), le) {
            (Some("_bucket"), Some(le)) => {
                if open && le != "+Inf" && !le.contains('.') {
                    return Err(format!("bound {le} is no float"));
                }
                group.0.push((number(&le)?, sample.value));
            }
            (Some("_count"), None) => group.1 = Some(sample.value),
            (Some("_sum"), None) => group.2 = true,
            _ => return Err("a sample that a histogram does not have".into()),
        }
    }
    for (labels, (buckets, count, has_sum)) in groups {
        let rising = buckets
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().copied().unwrap_or((0.0, -1.0));
        if !rising || last.0 != f64::INFINITY || Some(last.1) != count || !has_sum {
            return Err(format!(
                "{labels}: buckets do not rise to +Inf and the count"
            ));
        }
    }
    Ok(())
}

/// `name{label="value",…} number`, without time and exemplar, which this server does not send.
fn sample(line: &str) -> Result<Sample, String> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => return Err("no value".into()),
    };
    if !is_name(name, true) {
        return Err("no metric name".into());
    }
    let mut labels = BTreeMap::new();
    let value = match rest.strip_prefix('{') {
        None => rest,
        Some(mut rest) => loop {
            let (label, after) = rest.split_once("=\"").ok_or("no label")?;
            let (text, after) = quoted(after)?;
            if !is_name(label, false) || labels.insert(label.to_owned(), text).is_some() {
                return Err(format!("label {label:?}"));
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break after.strip_prefix('}').ok_or("labels without an end")?,
            }
        },
    };
    let value = value.strip_prefix(' ').ok_or("no blank before the value")?;
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: number(value)?,
    })
}

/// A label's value up to its closing quote, and what is behind that.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok((unescaped(&text[..at], true)?, &text[at + 1..])),
            _ => {}
        }
    }
    Err("a label's value without an end".into())
}

fn unescaped(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("escape \\{other:?}")),
            },
            '"' if quotes => return Err("a bare quote".into()),
            c => c,
        });
    }
    Ok(out)
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            text.parse().map_err(|_| format!("no number {text:?}"))
        }
        _ => Err(format!("no number {text:?}")),
    }
}

fn is_name(text: &str, colons: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !text.is_empty() && text.chars().all(good) && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_pages() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\",b=\"\"} 5\n";
        let page = read(text, Format::Text).expect("is right");
        assert_eq!(page.value("a_total{b=\"\",x=\"1\\\"\"}"), Some(5.0));
        let open = "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# HELP h_seconds H.\n\
                    h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\n\
                    h_seconds_sum 0.7\nh_seconds_count 2\n# EOF\n";
        assert_eq!(
            read(open, Format::OpenMetrics)
                .expect("is right")
                .value("h_seconds_count"),
            Some(2.0)
        );
    }

    #[test]
    fn bad_pages() {
        let head = "# HELP a_total A.\n# TYPE a_total counter\n";
        for bad in [
            format!("{head}a_total 1"),
            format!("{head}a_total 1\r\n"),
            format!("{head}a_total  1\n"),
            format!("{head}a_total -1\n"),
            format!("{head}a_total 1\na_total 1\n"),
            format!("{head}b_total 1\n"),
            format!("{head}a_total{{x=\"1}} 1\n"),
            format!("{head}a_total{{x=\"\\t\"}} 1\n"),
            format!("{head}a_total x\n"),
            format!("{head}\na_total 1\n"),
            format!("{head}a_total 1\n# EOF\n"),
            format!("{head}a_total 1\n{head}"),
            "a_total 1\n".to_owned(),
            "# HELP a A.\n# TYPE a counter\na 1\n".to_owned(),
            "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n"
                .to_owned(),
        ] {
            assert!(read(&bad, Format::Text).is_err(), "{bad}");
        }
        let open = "# TYPE a counter\n# HELP a A.\n";
        for bad in [
            format!("{open}a_total 1\n"),
            format!("{open}a 1\n# EOF\n"),
            "# HELP a A.\n# TYPE a counter\na_total 1\n# EOF\n".to_owned(),
            "# TYPE a_bytes gauge\n# HELP a_bytes A.\na_bytes 1\n# EOF\n".to_owned(),
            "# TYPE a gauge\n# UNIT a bytes\n# HELP a A.\na 1\n# EOF\n".to_owned(),
        ] {
            assert!(read(&bad, Format::OpenMetrics).is_err(), "{bad}");
        }
    }
}
