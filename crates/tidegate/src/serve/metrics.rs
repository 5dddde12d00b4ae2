//! Collects what every part counted, for `/metrics`.

use tidegate_control::Exposition;
use tidegate_control::metrics as m;
use tidegate_types::meter::Histogram;

use super::operator::Operator;

/// Writes all metrics of a running gateway.
pub(crate) fn write(operator: &Operator, out: &mut Exposition) {
    gateway(operator, out);
    relay(operator, out);
    sandboxes(operator, out);
    policy(operator, out);
    upstreams(operator, out);
    events(operator, out);
    quotas(operator, out);
    key_sets(operator, out);
}

fn quotas(operator: &Operator, out: &mut Exposition) {
    let usage = &operator.usage;
    for (meter, count) in usage.exceeded().filter(|(_, count)| *count > 0) {
        out.counter(&m::QUOTA_EXCEEDED, &[meter.as_str()], count);
    }
    let (accounts, counted) = usage.quotas.sizes();
    out.gauge(&m::QUOTA_HELD, &["accounts"], accounts as f64);
    out.gauge(&m::QUOTA_HELD, &["counted"], counted as f64);
    out.counter(&m::QUOTA_SAVES, &[], usage.quotas.saves());
}

fn gateway(operator: &Operator, out: &mut Exposition) {
    for (reason, count) in operator.front.meters.refusals() {
        out.counter(&m::REFUSALS, &[reason], count);
    }
    out.histogram(&m::REQUEST_DURATION, &[], &operator.front.meters.duration);
    out.counter(&m::POLICY_RELOADS, &["taken"], operator.reloads.taken.get());
    out.counter(&m::POLICY_RELOADS, &["refused"], operator.reloads.refused.get());
    let refused = !operator.reloads.because().is_empty();
    out.gauge(&m::POLICY_CANDIDATE_REFUSED, &[], f64::from(u8::from(refused)));
    out.gauge(&m::POLICY_GENERATION, &[], number(operator.policy.current().number()));
}

fn relay(operator: &Operator, out: &mut Exposition) {
    let relay = &operator.relay;
    for (class, answers) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&relay.answers) {
        out.counter(&m::REQUESTS, &[class], answers.get());
    }
    out.counter(&m::RELAY_BYTES, &["in"], relay.bytes_in.get());
    out.counter(&m::RELAY_BYTES, &["out"], relay.bytes_out.get());
    out.counter(&m::RELAY_CONNECTS, &[], relay.connects.get());
    out.counter(&m::RELAY_REUSES, &[], relay.reuses.get());
    out.histogram(&m::RELAY_DURATION, &[], &relay.first_byte);
    out.gauge(&m::WEBSOCKETS, &[], number(relay.upgrades_open()));
    out.counter(&m::MESSAGES, &["in"], relay.messages_in.get());
    out.counter(&m::MESSAGES, &["out"], relay.messages_out.get());
}

fn sandboxes(operator: &Operator, out: &mut Exposition) {
    for (phase, count) in operator.registry().phases() {
        out.gauge(&m::SANDBOXES, &[phase.as_str()], number(count));
    }
    let meters = operator.registry().meters();
    let failed = meters.start_failures.get();
    out.counter(&m::SANDBOX_STARTS, &["failed"], failed);
    out.counter(&m::SANDBOX_STARTS, &["ready"], starts(&meters.start_time));
    out.histogram(&m::SANDBOX_START_DURATION, &[], &meters.start_time);
    out.counter(&m::SANDBOX_SLEEPS, &[], meters.sleeps.get());
}

fn starts(times: &Histogram) -> u64 {
    times.snapshot().0.iter().sum()
}

fn policy(operator: &Operator, out: &mut Exposition) {
    for plugin in operator.policy.status() {
        let name = plugin.name.as_str();
        out.counter(&m::POLICY_CALLS, &[name], plugin.hooks.iter().map(|hook| hook.calls).sum());
        for (outcome, count) in plugin.http {
            out.counter(&m::PLUGIN_HTTP, &[name, outcome.as_str()], count);
        }
        let (counts, sum) = plugin.http_durations;
        out.histogram_counts(&m::PLUGIN_HTTP_DURATION, &[name], &counts, sum);
        for hook in plugin.hooks {
            for (reason, count) in hook.failures {
                out.counter(&m::POLICY_FAILURES, &[name, reason.as_str()], count);
            }
            let (counts, sum) = hook.durations;
            out.histogram_counts(&m::POLICY_DURATION, &[name, hook.hook.as_str()], &counts, sum);
        }
    }
}

fn key_sets(operator: &Operator, out: &mut Exposition) {
    for (name, meters) in operator.outside.serving().meters() {
        out.counter(&m::KEY_SET_FETCHES, &[name, "fetched"], meters.fetched.get());
        out.counter(&m::KEY_SET_FETCHES, &[name, "failed"], meters.failed.get());
        out.gauge(&m::KEY_SET_AGE, &[name], meters.age().as_secs_f64());
    }
}

fn events(operator: &Operator, out: &mut Exposition) {
    let meters = operator.front.observer.meters();
    out.counter(&m::EVENTS, &[], meters.taken.get());
    for (reason, lost) in [
        ("queue-full", &meters.queue_full),
        ("observer-slow", &meters.observer_slow),
        ("observer-failed", &meters.observer_failed),
    ] {
        out.counter(&m::EVENTS_DROPPED, &[reason], lost.get());
    }
    let mut told = std::collections::HashSet::new();
    for journal in operator.policy.status().into_iter().filter_map(|plugin| plugin.journal) {
        let file = journal.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Plugins may share one.
        if told.insert(journal.path) {
            out.counter(&m::JOURNAL_LINES, &[&file, "written"], journal.written);
            out.counter(&m::JOURNAL_LINES, &[&file, "refused"], journal.refused);
        }
    }
}

fn upstreams(operator: &Operator, out: &mut Exposition) {
    for (name, meters) in operator.upstreams.meters() {
        let name = name.as_str();
        out.counter(&m::UPSTREAM_REQUESTS, &[name], meters.requests.get());
        out.counter(&m::UPSTREAM_BYTES, &[name, "out"], meters.bytes_sent.get());
        out.counter(&m::UPSTREAM_BYTES, &[name, "in"], meters.bytes_received.get());
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 of anything here")]
fn number(count: u64) -> f64 {
    count as f64
}
