//! Claim: relaying a small request costs less than twice of what nginx's
//! `proxy_pass` needs, on the same machine, in the same run, to the same server.
//!
//! Starts an nginx that answers, an nginx that relays to it and the relay in a
//! process of its own, each with one worker, and lets `wrk` ask in turns. Needs
//! `nginx` and `wrk`.

use tidegate_benches::peers::{
    Core, Load, Running, free, median, missing, nginx, wait_for, worker_of,
};
use tidegate_benches::relayed::{Unjudged, relay_here};

const ROUNDS: usize = 5;
const LOAD: Load<'static> = Load { core: Core::Any, seconds: 3, header: None };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, listen, upstream] = arguments.as_slice()
        && role == "relay"
    {
        return relay_here(listen, upstream, Unjudged);
    }
    // `cargo test --benches` only wants to know whether it builds.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    match missing(&["nginx", "wrk"]) {
        Some(tool) => println!("skipped: `{tool}` is not installed"),
        None => compare(),
    }
}

fn compare() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let [server, proxy, relayed] = [free(), free(), free()];
    let body = "x".repeat(108);
    let _server = nginx(
        Core::Any,
        directory,
        "server",
        &format!("server {{ listen {server} reuseport; location / {{ return 200 '{body}'; }} }}"),
    );
    let proxying = nginx(
        Core::Any,
        directory,
        "proxy",
        &format!(
            "upstream up {{ server {server}; keepalive 128; }}
         server {{ listen {proxy}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
           proxy_set_header Connection ''; proxy_set_header Host $host;
           proxy_set_header X-Forwarded-For $remote_addr; }} }}"
        ),
    );
    let relaying =
        Running::start(Core::Any.command(std::env::current_exe().expect("this program")).args([
            "relay",
            &relayed.to_string(),
            &server.to_string(),
        ]));
    for address in [server, proxy, relayed] {
        wait_for(address);
    }
    let mut peers = [
        ("nginx", proxy, worker_of(proxying.pid()), Vec::new()),
        ("tidegate", relayed, relaying.pid(), Vec::new()),
    ];
    for _ in 0..ROUNDS {
        for (_, address, pid, answers) in &mut peers {
            answers.push(LOAD.put_on(*address, *pid));
        }
    }
    let per_request = peers.map(|(name, _, _, answers)| {
        let micros = median(answers.iter().map(|answer| answer.micros).collect());
        let rate = median(answers.iter().map(|answer| answer.rate).collect());
        println!("{name:>9}: {micros:6.1} µs of processor time per request, {rate:8.0} requests/s");
        micros
    });
    println!("    ratio: {:.2}", per_request[1] / per_request[0]);
}
