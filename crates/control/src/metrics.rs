//! The table of metrics and their Prometheus text.
//!
//! Adding a metric: add a line to the table; the gateway writes its samples, and
//! the reference documentation follows from the table.

use tidegate_types::meter::{BOUNDS_MICROS, Histogram};

/// What is known of a metric before it has any value.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with unit: `tidegate_requests_total`.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// The labels that each of its samples has.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// How a metric's values behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How long things took, in seconds.
    Histogram,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All metrics, in the order in which they are written.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BUILD_INFO: Gauge "tidegate_build_info" ["version"]
        "Always 1; the version stands in the label.";
    START_TIME: Gauge "tidegate_start_time_seconds" []
        "When the gateway was started, in Unix time.";
    READY: Gauge "tidegate_ready" []
        "1 while tenants' requests are served, else 0.";
    REQUESTS: Counter "tidegate_requests_total" ["status"]
        "Requests answered, by class of status: 1xx (upgrades) to 5xx.";
    REFUSALS: Counter "tidegate_refusals_total" ["reason"]
        "Requests that the gateway itself refused, by reason.";
    REQUEST_DURATION: Histogram "tidegate_request_duration_seconds" []
        "From a request's head to the head of its answer, waking included.";
    RELAY_BYTES: Counter "tidegate_relay_bytes_total" ["direction"]
        "Bytes relayed, by direction: in is from clients, out is towards them.";
    RELAY_CONNECTS: Counter "tidegate_relay_connects_total" []
        "Connections opened towards sandboxes.";
    RELAY_REUSES: Counter "tidegate_relay_reuses_total" []
        "Requests sent over a connection that was open already.";
    RELAY_DURATION: Histogram "tidegate_relay_duration_seconds" []
        "From a request's head towards the sandbox to the head of its answer.";
    WEBSOCKETS: Gauge "tidegate_websockets" []
        "WebSockets open now.";
    MESSAGES: Counter "tidegate_websocket_messages_total" ["direction"]
        "Messages passed on by WebSockets whose messages are judged, by direction: in is from clients, out is towards them.";
    SANDBOXES: Gauge "tidegate_sandboxes" ["state"]
        "Sandboxes known, by state.";
    SANDBOX_STARTS: Counter "tidegate_sandbox_starts_total" ["outcome"]
        "Starts of sandboxes, by outcome: ready or failed.";
    SANDBOX_START_DURATION: Histogram "tidegate_sandbox_start_duration_seconds" []
        "From the decision to start until the application is ready.";
    SANDBOX_SLEEPS: Counter "tidegate_sandbox_sleeps_total" []
        "Sandboxes put to rest because they were idle.";
    POLICY_CALLS: Counter "tidegate_policy_calls_total" ["plugin"]
        "Calls of plugins.";
    POLICY_FAILURES: Counter "tidegate_policy_failures_total" ["plugin", "reason"]
        "Calls of plugins that gave no answer, by reason.";
    POLICY_DURATION: Histogram "tidegate_policy_duration_seconds" ["plugin", "hook"]
        "How long calls of plugins took, by hook.";
    POLICY_RELOADS: Counter "tidegate_policy_reloads_total" ["outcome"]
        "Reloads of configuration and plugins, by outcome: taken or refused.";
    POLICY_CANDIDATE_REFUSED: Gauge "tidegate_policy_candidate_refused" []
        "1 while the latest reload stands refused and the last good one serves, else 0.";
    POLICY_GENERATION: Gauge "tidegate_policy_generation" []
        "The generation of plugins that serves; grows with each reload taken.";
    PLUGIN_HTTP: Counter "tidegate_plugin_http_total" ["plugin", "outcome"]
        "Calls of plugins to HTTP services, by what became of them.";
    PLUGIN_HTTP_DURATION: Histogram "tidegate_plugin_http_duration_seconds" ["plugin"]
        "How long those calls took, from the request to the whole answer.";
    KEY_SET_FETCHES: Counter "tidegate_key_set_fetches_total" ["key_set", "outcome"]
        "Fetches of published key sets, by outcome: fetched or failed.";
    KEY_SET_AGE: Gauge "tidegate_key_set_age_seconds" ["key_set"]
        "How long ago a published key set was fetched, or taken from its copy.";
    QUOTA_EXCEEDED: Counter "tidegate_quota_exceeded_total" ["meter"]
        "Limits that were reached, by what they limit.";
    QUOTA_HELD: Gauge "tidegate_quota_held" ["what"]
        "Held in memory: accounts of identities seen lately, and counted things that are not full.";
    QUOTA_SAVES: Counter "tidegate_quota_saves_total" []
        "How often what is used was saved; a second without any use needs none.";
    EVENTS: Counter "tidegate_events_total" []
        "Events taken for observers, once however many there are.";
    EVENTS_DROPPED: Counter "tidegate_events_dropped_total" ["reason"]
        "Events that an observer was not told, by reason: queue-full, observer-slow or observer-failed.";
    JOURNAL_LINES: Counter "tidegate_journal_lines_total" ["file", "outcome"]
        "Lines of plugins, by file and outcome: written, or refused because the disk was full or slow.";
    UPSTREAM_REQUESTS: Counter "tidegate_upstream_requests_total" ["upstream"]
        "Requests from sandboxes to upstreams.";
    UPSTREAM_BYTES: Counter "tidegate_upstream_bytes_total" ["upstream", "direction"]
        "Bytes between sandboxes and upstreams: out is towards the upstream.";
}

/// The text of `/metrics`, being written.
///
/// Samples of one metric may come in any order and number; they are grouped.
#[derive(Debug, Default)]
pub struct Exposition {
    samples: Vec<(&'static Metric, String)>,
}

impl Exposition {
    /// Adds a sample of a counter. `labels` are the values for the metric's
    /// labels, in its order.
    pub fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.samples
            .push((metric, format!("{}{} {value}\n", metric.name, metric.labelled(labels, None))));
    }

    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.samples
            .push((metric, format!("{}{} {value}\n", metric.name, metric.labelled(labels, None))));
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], value: &Histogram) {
        let (counts, sum_micros) = value.snapshot();
        self.histogram_counts(metric, labels, &counts, sum_micros);
    }

    /// Adds a histogram from what [`Histogram::snapshot`] gave.
    pub fn histogram_counts(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        counts: &[u64; BOUNDS_MICROS.len() + 1],
        sum_micros: u64,
    ) {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        let bounds = BOUNDS_MICROS
            .iter()
            .map(|micros| (*micros as f64 / 1e6).to_string())
            .chain(std::iter::once("+Inf".to_owned()));
        let (mut text, mut total) = (String::new(), 0);
        for (count, bound) in counts.iter().zip(bounds) {
            total += count;
            let labels = metric.labelled(labels, Some(&bound));
            text.push_str(&format!("{}_bucket{labels} {total}\n", metric.name));
        }
        let labels = metric.labelled(labels, None);
        let seconds = sum_micros as f64 / 1e6;
        text.push_str(&format!(
            "{0}_sum{labels} {seconds}\n{0}_count{labels} {total}\n",
            metric.name
        ));
        self.samples.push((metric, text));
    }

    /// The finished text, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn finish(self) -> String {
        let mut out = String::new();
        for metric in ALL {
            let mut samples =
                self.samples.iter().filter(|(of, _)| of.name == metric.name).peekable();
            if samples.peek().is_none() {
                continue;
            }
            out.push_str(&format!("# HELP {} {}\n", metric.name, metric.help));
            out.push_str(&format!("# TYPE {} {}\n", metric.name, metric.kind.as_str()));
            samples.for_each(|(_, text)| out.push_str(text));
        }
        out
    }
}

impl Metric {
    /// `{plugin="a",le="0.1"}`, or nothing.
    fn labelled(&self, values: &[&str], le: Option<&str>) -> String {
        debug_assert_eq!(self.labels.len(), values.len(), "{}: {values:?}", self.name);
        let pairs: Vec<String> = self
            .labels
            .iter()
            .zip(values)
            .chain(le.as_ref().map(|le| (&"le", le)))
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The reference documentation, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         <!-- Generated from crates/control/src/metrics.rs; `UPDATE_EXPECT=1 cargo test -p tidegate-control` writes it anew. -->\n\n\
         `GET /metrics` on the control listener, in Prometheus' text format.\n\n\
         | metric | kind | labels | what |\n|---|---|---|---|\n",
    );
    for metric in ALL {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = metric.kind.as_str();
        out.push_str(&format!(
            "| `{}` | {kind} | {} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.help
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use expect_test::{expect, expect_file};

    use super::*;

    #[test]
    fn samples_are_grouped_and_labels_escaped() {
        let mut out = Exposition::default();
        out.counter(&POLICY_FAILURES, &["a\"\\\n", "trap"], 1);
        out.gauge(&READY, &[], 1.0);
        out.counter(&POLICY_FAILURES, &["b", "deadline"], 2);
        expect![[r#"
            # HELP tidegate_ready 1 while tenants' requests are served, else 0.
            # TYPE tidegate_ready gauge
            tidegate_ready 1
            # HELP tidegate_policy_failures_total Calls of plugins that gave no answer, by reason.
            # TYPE tidegate_policy_failures_total counter
            tidegate_policy_failures_total{plugin="a\"\\\n",reason="trap"} 1
            tidegate_policy_failures_total{plugin="b",reason="deadline"} 2
        "#]]
        .assert_eq(&out.finish());
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative_and_in_seconds() {
        let histogram = Histogram::default();
        for micros in [3, 40, 70_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut out = Exposition::default();
        out.histogram(&POLICY_DURATION, &["p", "resolve"], &histogram);
        let text = out.finish();
        for line in [
            "tidegate_policy_duration_seconds_bucket{plugin=\"p\",hook=\"resolve\",le=\"0.000005\"} 1",
            "tidegate_policy_duration_seconds_bucket{plugin=\"p\",hook=\"resolve\",le=\"0.00005\"} 2",
            "tidegate_policy_duration_seconds_bucket{plugin=\"p\",hook=\"resolve\",le=\"60\"} 2",
            "tidegate_policy_duration_seconds_bucket{plugin=\"p\",hook=\"resolve\",le=\"+Inf\"} 3",
            "tidegate_policy_duration_seconds_sum{plugin=\"p\",hook=\"resolve\"} 70.000043",
            "tidegate_policy_duration_seconds_count{plugin=\"p\",hook=\"resolve\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_that_says_its_unit() {
        let mut names = HashSet::new();
        for metric in ALL {
            assert!(names.insert(metric.name), "{} stands twice", metric.name);
            let fits = match metric.kind {
                Kind::Counter => metric.name.ends_with("_total"),
                Kind::Histogram => metric.name.ends_with("_seconds"),
                Kind::Gauge => !metric.name.ends_with("_total"),
            };
            assert!(fits && metric.name.starts_with("tidegate_"), "{}", metric.name);
        }
    }

    #[test]
    fn the_reference_documentation_is_fresh() {
        expect_file!["../../../docs/metrics.md"].assert_eq(&reference());
    }
}
