//! Claim: relaying a small request costs less than twice of what nginx's
//! `proxy_pass` needs, on the same machine, in the same run, to the same server.
//!
//! Starts an nginx that answers, an nginx that relays to it and the relay in a
//! process of its own, each with one worker, and lets `wrk` ask in turns. What
//! counts is processor time per request: requests per second depend on how the
//! machine's cores are shared. Needs `nginx` and `wrk`.

use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_benches::relayed::relay;

const ROUNDS: usize = 5;
const SECONDS: u64 = 3;

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: an nginx that is killed leaves its worker behind.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let patience = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, listen, upstream] = arguments.as_slice()
        && role == "relay"
    {
        return serve(listen, upstream);
    }
    // `cargo test --benches` only wants to know whether it builds.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    for tool in ["nginx", "wrk"] {
        if Command::new(tool).arg("-v").output().is_err() {
            println!("skipped: `{tool}` is not installed");
            return;
        }
    }
    compare();
}

fn serve(listen: &str, upstream: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await.expect("the port is free");
        let upstream = upstream.parse().expect("an address");
        // On the worker, as in production; this thread only waits.
        tokio::spawn(relay(listener, upstream)).await.expect("it serves until it is killed");
    });
}

fn compare() {
    let directory = std::env::temp_dir().join(format!("tidegate-peers-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let [server, proxy, relayed] = [free(), free(), free()];
    let body = "x".repeat(108);
    let _server = nginx(
        &directory,
        "server",
        &format!("server {{ listen {server} reuseport; location / {{ return 200 '{body}'; }} }}"),
    );
    let proxying = nginx(
        &directory,
        "proxy",
        &format!(
            "upstream up {{ server {server}; keepalive 128; }}
         server {{ listen {proxy}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
           proxy_set_header Connection ''; proxy_set_header Host $host;
           proxy_set_header X-Forwarded-For $remote_addr; }} }}"
        ),
    );
    let relaying = Running(
        Command::new(std::env::current_exe().expect("this program"))
            .args(["relay", &relayed.to_string(), &server.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("this program starts"),
    );
    for address in [server, proxy, relayed] {
        wait_for(address);
    }
    let mut peers = [
        ("nginx", proxy, worker_of(proxying.0.id()), Vec::new()),
        ("tidegate", relayed, relaying.0.id(), Vec::new()),
    ];
    for _ in 0..ROUNDS {
        for (_, address, pid, results) in &mut peers {
            let before = cpu(*pid);
            let requests = load(*address);
            let spent = cpu(*pid).saturating_sub(before);
            let per_second = requests as f64 / SECONDS as f64;
            results.push((per_second, spent.as_secs_f64() * 1e6 / requests as f64));
        }
    }
    let mut per_request = Vec::new();
    for (name, _, _, results) in &mut peers {
        results.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (rate, micros) = results[results.len() / 2];
        println!("{name:>9}: {micros:6.1} µs of processor time per request, {rate:8.0} requests/s");
        per_request.push(micros);
    }
    println!("    ratio: {:.2}", per_request[1] / per_request[0]);
    let _ = fs::remove_dir_all(&directory);
}

fn free() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket")
}

fn nginx(directory: &Path, name: &str, servers: &str) -> Running {
    let home = directory.join(name);
    fs::create_dir_all(&home).expect("a directory");
    let home = home.display();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log off; keepalive_requests 1000000000;
           client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
           uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
           {servers} }}"
    );
    let file = directory.join(format!("{name}.conf"));
    fs::write(&file, configuration).expect("a file");
    let nginx = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    Running(nginx)
}

fn wait_for(address: SocketAddr) {
    let patience = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < patience, "nothing listens on {address}");
        std::thread::yield_now();
    }
}

/// The one child of an nginx master.
fn worker_of(master: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    let children = children.expect("the process runs");
    children.split_whitespace().next().expect("a worker").parse().expect("a process id")
}

/// Processor time of a process, its threads included.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    // USER_HZ is 100 on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// Requests that were answered.
fn load(address: SocketAddr) -> u64 {
    let output = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{SECONDS}s"), &format!("http://{address}/")])
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{text}");
    text.lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("wrk said: {text}"))
}
