//! Claim: the same bearer-token policy adds at most a third of the processor time to
//! a request here that it adds in Envoy as a WASM filter.
//!
//! One nginx answers. Before it stand, each in a process of its own with one worker:
//! Envoy without and with the filter of `envoy-filter/`, and the relay without and
//! with `builtin:token` and `builtin:per-user`. `wrk` asks them in turns, always with
//! the same valid token, one of 200. What counts is everyone's quietest round, since
//! what else the machine does can only add; beside it stand the differences within
//! the rounds, which show how much it did.
//!
//! Where there are two cores, the proxies have one and all else has the other. Needs
//! `nginx`, `wrk`, `taskset`, a compiler for WASM and Envoy.

#[path = "envoy_configuration.rs"]
mod configuration;
#[path = "envoy_installation.rs"]
mod installation;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tidegate_benches::judged::{Policy, TOKENS, tokens};
use tidegate_benches::peers::{
    Answered, Core, Load, Running, free, median, missing, nginx, wait_for,
};
use tidegate_benches::relayed::{Unjudged, relay_here};

use configuration::{Filter, Held};

/// Many and short, so that what else the machine does meets all of them alike.
const ROUNDS: usize = 15;
const SECONDS: u64 = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, listen, upstream] = arguments.as_slice() {
        match role.as_str() {
            "relay" => return relay_here(listen, upstream, Unjudged),
            "policy" => return relay_here(listen, upstream, Policy::bearer()),
            _ => {}
        }
    }
    // `cargo test --benches` only wants to know whether it builds.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    if let Some(tool) = missing(&["nginx", "wrk", "taskset"]) {
        println!("skipped: `{tool}` is not installed");
        return;
    }
    let (envoy, filter) = match (installation::envoy(), installation::filter()) {
        (Ok(envoy), Ok(filter)) => (envoy, filter),
        (Err(problem), _) | (_, Err(problem)) => {
            println!("skipped: {problem:#}");
            return;
        }
    };
    compare(&envoy, &filter);
}

/// A proxy, and what it did in each round.
struct Peer {
    name: &'static str,
    address: SocketAddr,
    process: Running,
    policy: bool,
    answers: Vec<Answered>,
}

fn compare(envoy: &Path, filter: &Path) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let (proxies, rest) = if two { (Core::Only(0), Core::Only(1)) } else { (Core::Any, Core::Any) };

    let server = free();
    let _server = nginx(rest, directory, "server", &format!(
        "server {{ listen {server} reuseport;
           location / {{ return 200 '{}'; }}
           location = /seen {{ return 200 'user=$http_x_forwarded_user token=$http_authorization'; }} }}",
        "x".repeat(108),
    ));
    let by = |held: Held| Filter { module: filter, held, subjects: subjects(held) };
    let envoy = |name, filter: Option<Filter<'_>>| {
        let address = free();
        let file = directory.join(format!("envoy-{}.json", address.port()));
        let policy = filter.is_some();
        let text = configuration::envoy(address, server, filter.as_ref()).to_string();
        fs::write(&file, text).expect("a file");
        let mut command = proxies.command(envoy);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart"]);
        Peer { name, address, process: Running::start(&mut command), policy, answers: Vec::new() }
    };
    let ours = |name, role: &str, policy| {
        let address = free();
        let mut command = proxies.command(std::env::current_exe().expect("this program"));
        command.args([role, &address.to_string(), &server.to_string()]);
        Peer { name, address, process: Running::start(&mut command), policy, answers: Vec::new() }
    };
    let mut peers = [
        envoy("Envoy", None),
        envoy("Envoy + filter", Some(by(Held::Plainly))),
        envoy("Envoy + filter, digests", Some(by(Held::Digested))),
        ours("relay", "relay", false),
        ours("relay + policy", "policy", true),
    ];
    let (token, subject) = tokens().nth(TOKENS / 2).expect("there are tokens");
    let header = format!("Authorization: Bearer {token}");
    wait_for(server);
    for peer in &peers {
        wait_for(peer.address);
        check(peer, &header, &token, &subject);
    }

    let load = Load { core: rest, seconds: SECONDS, header: Some(&header) };
    for round in 0..ROUNDS {
        // Each goes as often before its neighbour as behind it.
        let mut order: Vec<_> = peers.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for peer in order {
            peer.answers.push(load.put_on(peer.address, peer.process.pid()));
        }
    }
    report(&peers);
}

/// The filter's table.
fn subjects(held: Held) -> Vec<(String, String)> {
    let digest = |token: String| {
        Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let keys = tokens().map(|(token, subject)| match held {
        Held::Plainly => (token, subject),
        Held::Digested => (digest(token), subject),
    });
    keys.collect()
}

/// What is compared must be the same: a policy refuses who has no token, and lets
/// the server know the subject instead of the token.
fn check(peer: &Peer, header: &str, token: &str, subject: &str) {
    let name = peer.name;
    let (with, without) = (ask(peer.address, header), ask(peer.address, "Accept: */*"));
    let (user, inside, outside) =
        if peer.policy { (subject, "", "401") } else { ("", token, "200") };
    let bearer = if inside.is_empty() { String::new() } else { format!("Bearer {inside}") };
    assert!(with.ends_with(&format!("user={user} token={bearer}")), "{name}: {with}");
    assert!(without.starts_with(&format!("HTTP/1.1 {outside} ")), "{name}: {without}");
}

fn ask(address: SocketAddr, header: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /seen HTTP/1.1\r\nHost: a\r\n{header}\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers and closes");
    text
}

fn report(peers: &[Peer; 5]) {
    for peer in peers {
        let (name, micros) = (peer.name, peer.quietest());
        let rate = median(peer.answers.iter().map(|answer| answer.rate).collect());
        println!(
            "{name:>24}: {micros:5.1} µs of processor time per request, {rate:6.0} requests/s"
        );
    }
    let [envoy, plain, digests, relay, policy] = peers;
    let [envoys, _, ours] = [
        ("Envoy's filter adds", envoy, plain),
        ("with digests", envoy, digests),
        ("our policy adds", relay, policy),
    ]
    .map(|(name, without, with)| {
        let added = with.quietest() - without.quietest();
        let (low, high) = between(without, with);
        println!("{name:>24}: {added:5.1} µs, half of the rounds within {low:.1} to {high:.1}");
        added
    });
    let ratio = ours / envoys;
    let verdict = if ratio <= 1.0 / 3.0 { "holds" } else { "does not hold" };
    println!("{:>24}: {ratio:.2}; at most 0.33 is claimed, which {verdict}", "ours of Envoy's");
    let whole = policy.quietest() / plain.quietest();
    println!("{:>24}: {whole:.2} of Envoy's with its filter", "our whole request");
}

impl Peer {
    /// Microseconds per request in the round that was disturbed least.
    fn quietest(&self) -> f64 {
        self.answers.iter().map(|answer| answer.micros).fold(f64::INFINITY, f64::min)
    }
}

/// The quartiles of the differences within the rounds.
fn between(without: &Peer, with: &Peer) -> (f64, f64) {
    let rounds = without.answers.iter().zip(&with.answers);
    let mut added: Vec<f64> = rounds.map(|(a, b)| b.micros - a.micros).collect();
    added.sort_by(f64::total_cmp);
    let last = added.len() - 1;
    (added[last / 4], added[last * 3 / 4])
}
