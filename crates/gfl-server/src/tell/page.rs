//! One page of metrics in the two forms that Prometheus and its like read: the text format 0.0.4 and OpenMetrics 1.0.
//! Knows both grammars and no metric.

use std::fmt::Write;

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4: what everything understands.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a client asks for. OpenMetrics has to be asked for by name, and be wanted at least as much.
    pub fn wanted(accept: Option<&str>) -> Format {
        let (mut text, mut open) = (None, None);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut weight = 1.0;
            let mut known = true;
            for part in parts {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim().trim_matches('"');
                match (name.trim().to_ascii_lowercase().as_str(), media.as_str()) {
                    ("q", _) => weight = value.parse().unwrap_or(0.0),
                    ("version", "application/openmetrics-text") => {
                        known = matches!(value, "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            let best = |old: Option<f32>| Some(old.map_or(weight, |old| old.max(weight)));
            match media.as_str() {
                "application/openmetrics-text" if known => open = best(open),
                "text/plain" => text = best(text),
                _ => {}
            }
        }
        match open {
            Some(open) if open > 0.0 && open >= text.unwrap_or(0.0) => Format::OpenMetrics,
            _ => Format::Text,
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// A page that is being written, family after family.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
}

/// A family whose samples are being written.
#[derive(Debug)]
pub struct Family<'p> {
    page: &'p mut Page,
    /// With the suffix that the samples have.
    name: String,
}

/// The labels of a sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// What a histogram has counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Per bound, not added up; the last is for what is beyond all bounds.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
}

impl Page {
    /// An empty page.
    pub fn new(format: Format) -> Page {
        Page {
            format,
            text: String::with_capacity(16 * 1024),
        }
    }

    /// A number that only rises. `name` is without `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, Kind::Counter, help)
    }

    /// A number that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, Kind::Gauge, help)
    }

    /// A constant with labels. `name` is without `_info`.
    pub fn info(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, Kind::Info, help)
    }

    /// A distribution.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, Kind::Histogram, help)
    }

    /// The page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let sample = format!("{name}{suffix}");
        let open = self.format == Format::OpenMetrics;
        // OpenMetrics names a family without its samples' suffix, the older format with it.
        let family = if open { name } else { &sample };
        let word = match (kind, open) {
            (Kind::Counter, _) => "counter",
            (Kind::Histogram, _) => "histogram",
            (Kind::Info, true) => "info",
            (Kind::Gauge | Kind::Info, _) => "gauge",
        };
        let text = &mut self.text;
        let help = escaped(help, open);
        // Writing to a String cannot fail.
        if open {
            let _ = writeln!(text, "# TYPE {family} {word}");
            if let Some(unit) = unit(name) {
                let _ = writeln!(text, "# UNIT {family} {unit}");
            }
            let _ = writeln!(text, "# HELP {family} {help}");
        } else {
            let _ = writeln!(text, "# HELP {family} {help}");
            let _ = writeln!(text, "# TYPE {family} {word}");
        }
        Family {
            page: self,
            name: sample,
        }
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, more: Option<(&str, &str)>, value: &str) {
        self.text.push_str(name);
        let mut before = '{';
        for (label, text) in labels.iter().copied().chain(more) {
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(text, true));
            before = ',';
        }
        let end = if before == '{' { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// A bound as its format wants it: OpenMetrics demands a float, others write the shortest.
    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::Text => format!("{bound}"),
            Format::OpenMetrics => format!("{bound:?}"),
        }
    }
}

impl Family<'_> {
    /// A sample with a whole number.
    pub fn sample(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.page
            .sample(&self.name, labels, None, &value.to_string());
        self
    }

    /// A sample with any number.
    pub fn float(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.page
            .sample(&self.name, labels, None, &value.to_string());
        self
    }

    /// A histogram's samples; `bounds` rise and are one fewer than the counts.
    pub fn buckets(&mut self, labels: Labels<'_>, bounds: &[f64], buckets: &Buckets) -> &mut Self {
        let name = format!("{}_bucket", self.name);
        let mut sum = 0;
        for (index, count) in buckets.counts.iter().enumerate() {
            sum += count;
            let le = bounds
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |bound| self.page.bound(*bound));
            self.page
                .sample(&name, labels, Some(("le", &le)), &sum.to_string());
        }
        let (count, total) = (format!("{}_count", self.name), format!("{}_sum", self.name));
        self.page
            .sample(&total, labels, None, &buckets.sum.to_string());
        self.page.sample(&count, labels, None, &sum.to_string());
        self
    }
}

/// The unit that a name ends with.
fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"].into_iter().find(|unit| {
        name.strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
    })
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.counter("gfl_x_bytes", "Bytes \\ of \"x\".\nMore.")
            .sample(&[("a", "q\"\\\n"), ("b", "")], 5)
            .sample(&[], u64::MAX);
        page.gauge("gfl_y", "Y.").float(&[], 0.25);
        page.info("gfl_build", "B.").sample(&[("version", "1")], 1);
        let buckets = Buckets {
            counts: vec![1, 0, 2],
            sum: 70.5,
        };
        page.histogram("gfl_z_seconds", "Z.")
            .buckets(&[("r", "/")], &[0.5, 10.0], &buckets);
        page.finish()
    }

    #[test]
    fn the_text_format() {
        let want = r#"# HELP gfl_x_bytes_total Bytes \\ of "x".\nMore.
# TYPE gfl_x_bytes_total counter
gfl_x_bytes_total{a="q\"\\\n",b=""} 5
gfl_x_bytes_total 18446744073709551615
# HELP gfl_y Y.
# TYPE gfl_y gauge
gfl_y 0.25
# HELP gfl_build_info B.
# TYPE gfl_build_info gauge
gfl_build_info{version="1"} 1
# HELP gfl_z_seconds Z.
# TYPE gfl_z_seconds histogram
gfl_z_seconds_bucket{r="/",le="0.5"} 1
gfl_z_seconds_bucket{r="/",le="10"} 1
gfl_z_seconds_bucket{r="/",le="+Inf"} 3
gfl_z_seconds_sum{r="/"} 70.5
gfl_z_seconds_count{r="/"} 3
"#;
        assert_eq!(page(Format::Text), want);
    }

    #[test]
    fn openmetrics() {
        let want = r#"# TYPE gfl_x_bytes counter
# UNIT gfl_x_bytes bytes
# HELP gfl_x_bytes Bytes \\ of \"x\".\nMore.
gfl_x_bytes_total{a="q\"\\\n",b=""} 5
gfl_x_bytes_total 18446744073709551615
# TYPE gfl_y gauge
# HELP gfl_y Y.
gfl_y 0.25
# TYPE gfl_build info
# HELP gfl_build B.
gfl_build_info{version="1"} 1
# TYPE gfl_z_seconds histogram
# UNIT gfl_z_seconds seconds
# HELP gfl_z_seconds Z.
gfl_z_seconds_bucket{r="/",le="0.5"} 1
gfl_z_seconds_bucket{r="/",le="10.0"} 1
gfl_z_seconds_bucket{r="/",le="+Inf"} 3
gfl_z_seconds_sum{r="/"} 70.5
gfl_z_seconds_count{r="/"} 3
# EOF
"#;
        assert_eq!(page(Format::OpenMetrics), want);
    }

    #[test]
    fn openmetrics_has_to_be_asked_for() {
        use Format::{OpenMetrics, Text};
        for (accept, want) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/plain"), Text),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (
                Some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text;version=2.0.0"), Text),
            (Some("application/openmetrics-text;q=0"), Text),
            (
                Some("text/plain;q=0.9,application/openmetrics-text;q=0.5"),
                Text,
            ),
            // Prometheus 2.42, as it asks.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            // Prometheus 3: with an escaping parameter.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ),
                OpenMetrics,
            ),
        ] {
            assert_eq!(Format::wanted(accept), want, "{accept:?}");
        }
    }
}
