//! The cases. Each returns `None` when the fact holds, or why it was not looked at.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::BoxFuture;
use tidegate_sandbox::driver::{Dialled, DriverError, Exit, Files};
use tidegate_types::Incarnation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, GATEWAY, PORT, SERVER, variable};

type Outcome = anyhow::Result<Option<String>>;
type Check = for<'a> fn(&'a Bench) -> BoxFuture<'a, Outcome>;

macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        /// Every case, under the fact that it checks.
        pub(super) const ALL: &[(&str, Check)] =
            &[$((stringify!($name), |bench| Box::pin($name(bench)))),+];
    };
}

cases! {
    a_created_sandbox_runs_nothing,
    the_command_gets_the_environment_of_start,
    a_command_that_does_not_exist_is_the_sandboxs_fault,
    a_port_that_nobody_listens_on_is_refused,
    the_application_sees_the_source_address,
    an_ipv6_loopback_listener_is_reached,
    what_is_opened_towards_a_listener_arrives_there,
    names_of_the_specification_resolve,
    the_end_of_a_command_is_told,
    a_command_that_ended_can_be_started_again,
    stop_lets_the_command_finish,
    stop_kills_what_does_not_finish,
    stopping_what_is_stopped_succeeds,
    files_survive_a_stop_and_a_kept_destroy_and_nothing_else,
    a_frozen_sandbox_keeps_its_connections,
    a_frozen_sandbox_can_be_stopped,
    a_stale_incarnation_is_refused,
    a_change_that_is_dropped_does_not_disturb_the_next,
    what_does_not_exist_is_absent,
    list_shows_what_exists,
    stats_are_of_the_sandbox,
    output_is_in_the_log,
    sandboxes_do_not_share_ports_or_files,
    the_memory_limit_ends_the_command,
    the_process_limit_holds,
    the_disk_limit_holds,
}

async fn a_created_sandbox_runs_nothing(bench: &Bench) -> Outcome {
    let spec = bench.spec("a", SERVER);
    bench.driver.create(&spec).await?;
    let refused = bench.driver.dial(&spec.id, PORT, GATEWAY).await;
    ensure!(matches!(refused, Err(DriverError::Refused { .. })), "{refused:?}");
    let found = bench.driver.list().await?;
    let this = found.iter().find(|f| f.id == spec.id).context("it is not listed")?;
    ensure!(!this.running, "it is listed as running");
    ensure!(bench.driver.wait(&spec.id).await? == Exit::Unknown, "it has an exit");
    Ok(None)
}

async fn the_command_gets_the_environment_of_start(bench: &Bench) -> Outcome {
    let spec = bench.spec("a", SERVER);
    bench.driver.create(&spec).await?;
    let large = "x".repeat(100_000);
    let env = [variable("SECRET", "s3cret = ü"), variable("LARGE", &large)];
    bench.driver.start(&spec.id, &env).await?;
    let mut talk = bench.talk(&spec.id).await?;
    ensure!(talk.ask("os.environ['SECRET']").await? == "s3cret = ü");
    ensure!(talk.ask("len(os.environ['LARGE'])").await? == "100000");
    Ok(None)
}

async fn a_command_that_does_not_exist_is_the_sandboxs_fault(bench: &Bench) -> Outcome {
    let spec = bench.spec_with("a", "", |template| template.command = vec!["/no/such".into()]);
    bench.driver.create(&spec).await?;
    let error = bench.driver.start(&spec.id, &[]).await.err().context("it started")?;
    ensure!(matches!(error, DriverError::Command { .. }), "{error:?}");
    ensure!(error.blame() == tidegate_types::Source::Sandbox);
    Ok(None)
}

async fn a_port_that_nobody_listens_on_is_refused(bench: &Bench) -> Outcome {
    let (spec, _talk) = bench.serve("a").await?;
    let refused = bench.driver.dial(&spec.id, PORT + 1, GATEWAY).await;
    ensure!(matches!(refused, Err(DriverError::Refused { port, .. }) if port == PORT + 1));
    Ok(None)
}

async fn the_application_sees_the_source_address(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().source_address {
        return Ok(Some("the driver does not set source addresses".into()));
    }
    let (spec, mut talk) = bench.serve("a").await?;
    ensure!(talk.ask("peer").await? == "100.64.0.1");
    let client: IpAddr = "203.0.113.7".parse()?;
    let Dialled::Tcp(mut stream) = bench.driver.dial(&spec.id, PORT, client).await? else {
        anyhow::bail!("not TCP")
    };
    stream.write_all(b"peer\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == b"203.0.113.7\n");
    Ok(None)
}

async fn an_ipv6_loopback_listener_is_reached(bench: &Bench) -> Outcome {
    let program = "\
import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 1); s.bind(('::1', 8080)); s.listen()
while True:
    c, peer = s.accept(); f = c.makefile('rw'); f.readline(); f.write(peer[0] + '\\n'); f.flush()";
    let spec = bench.spec("a", program);
    bench.run(&spec).await?;
    let peer = bench.talk(&spec.id).await?.ask("peer").await?;
    ensure!(peer != "::1", "the client looks like loopback");
    Ok(None)
}

async fn what_is_opened_towards_a_listener_arrives_there(bench: &Bench) -> Outcome {
    let (spec, mut talk) = bench.serve("a").await?;
    for round in ["first", "second"] {
        // Asked for twice: as after a restart of the gateway.
        let listener = bench.driver.listener(&spec.id, "upstreams").await?;
        talk.say(&format!(
            "(lambda c: (c.sendall(b'{round}'), c.recv(9)))(socket.create_connection(('100.64.0.2', 80)))[1]"
        ))
        .await?;
        let (mut stream, _) = listener.accept().await?;
        let mut heard = vec![0; round.len()];
        stream.read_exact(&mut heard).await?;
        ensure!(heard == round.as_bytes());
        stream.write_all(b"answer").await?;
        ensure!(talk.hear().await? == "b'answer'");
    }
    Ok(None)
}

async fn names_of_the_specification_resolve(bench: &Bench) -> Outcome {
    let (_spec, mut talk) = bench.serve("a").await?;
    ensure!(talk.ask("socket.gethostbyname('model.upstream.internal')").await? == "100.64.0.2");
    Ok(None)
}

async fn the_end_of_a_command_is_told(bench: &Bench) -> Outcome {
    let spec = bench.spec("a", "import sys; sys.exit(42)");
    bench.run(&spec).await?;
    ensure!(bench.driver.wait(&spec.id).await? == Exit::Code(42));
    let spec = bench.spec("b", "import os; os.kill(os.getpid(), 11)");
    bench.run(&spec).await?;
    ensure!(bench.driver.wait(&spec.id).await? == Exit::Signal(11));
    Ok(None)
}

async fn a_command_that_ended_can_be_started_again(bench: &Bench) -> Outcome {
    let spec = bench.spec("a", "import os; print(os.environ['ROUND'])");
    bench.driver.create(&spec).await?;
    for round in ["1", "2", "3"] {
        bench.driver.start(&spec.id, &[variable("ROUND", round)]).await?;
        ensure!(bench.driver.wait(&spec.id).await? == Exit::Code(0));
    }
    ensure!(bench.output(&spec.id) == "1\n2\n3\n", "{}", bench.output(&spec.id));
    Ok(None)
}

async fn stop_lets_the_command_finish(bench: &Bench) -> Outcome {
    let program = format!(
        "import signal, os\nsignal.signal(15, lambda *_: (print('bye', flush=True), os._exit(3)))\n{SERVER}"
    );
    let spec = bench.spec("a", &program);
    bench.run(&spec).await?;
    bench.talk(&spec.id).await?;
    ensure!(bench.driver.stop(&spec.id, Duration::from_secs(30)).await? == Exit::Code(3));
    ensure!(bench.output(&spec.id).ends_with("bye\n"));
    Ok(None)
}

async fn stop_kills_what_does_not_finish(bench: &Bench) -> Outcome {
    let program = format!(
        "import signal, os\nsignal.signal(15, signal.SIG_IGN)\nif os.fork() == 0: signal.pause()\n{SERVER}"
    );
    let spec = bench.spec("a", &program);
    bench.run(&spec).await?;
    bench.talk(&spec.id).await?;
    ensure!(bench.driver.stop(&spec.id, Duration::from_millis(100)).await? == Exit::Signal(9));
    Ok(None)
}

async fn stopping_what_is_stopped_succeeds(bench: &Bench) -> Outcome {
    let (spec, _talk) = bench.serve("a").await?;
    let first = bench.driver.stop(&spec.id, Duration::ZERO).await?;
    ensure!(bench.driver.stop(&spec.id, Duration::ZERO).await? == first);
    Ok(None)
}

async fn files_survive_a_stop_and_a_kept_destroy_and_nothing_else(bench: &Bench) -> Outcome {
    let program = "\
import os
for at in ['/home/user', '/var/lib', '/tmp', '/run']:
    print(at, sorted(os.listdir(at)))
    open(at + '/kept', 'w').write('x')";
    let mut spec = bench.spec("a", program);
    let fresh = "/home/user []\n/var/lib []\n/tmp []\n/run []\n";
    let kept = "/home/user ['kept']\n/var/lib ['kept']\n/tmp []\n/run []\n";
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    bench.driver.start(&spec.id, &[]).await?;
    bench.driver.wait(&spec.id).await?;
    ensure!(bench.output(&spec.id) == format!("{fresh}{kept}"), "{}", bench.output(&spec.id));

    bench.driver.destroy(&spec.id, Files::Keep).await?;
    spec.id.incarnation = Incarnation(8);
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    ensure!(bench.output(&spec.id).ends_with(kept), "{}", bench.output(&spec.id));

    bench.driver.destroy(&spec.id, Files::Remove).await?;
    spec.id.incarnation = Incarnation(9);
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    ensure!(bench.output(&spec.id) == fresh, "{}", bench.output(&spec.id));
    Ok(None)
}

async fn a_frozen_sandbox_keeps_its_connections(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().freeze {
        return Ok(Some("the driver does not freeze".into()));
    }
    let (spec, mut talk) = bench.serve("a").await?;
    ensure!(talk.ask("1 + 1").await? == "2");
    bench.driver.freeze(&spec.id).await?;
    talk.say("2 + 2").await?;
    let heard = tokio::time::timeout(Duration::from_millis(200), talk.hear()).await;
    ensure!(heard.is_err(), "it answered while frozen: {heard:?}");
    bench.driver.thaw(&spec.id).await?;
    ensure!(talk.hear().await? == "4");
    Ok(None)
}

async fn a_frozen_sandbox_can_be_stopped(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().freeze {
        return Ok(Some("the driver does not freeze".into()));
    }
    let (spec, _talk) = bench.serve("a").await?;
    bench.driver.freeze(&spec.id).await?;
    ensure!(bench.driver.stop(&spec.id, Duration::from_secs(30)).await? == Exit::Signal(15));
    Ok(None)
}

async fn a_stale_incarnation_is_refused(bench: &Bench) -> Outcome {
    let (spec, mut talk) = bench.serve("a").await?;
    let mut stale = spec.id.clone();
    stale.incarnation = Incarnation(6);
    let errors = [
        bench.driver.stop(&stale, Duration::ZERO).await.err(),
        bench.driver.destroy(&stale, Files::Remove).await.err(),
        bench.driver.freeze(&stale).await.err(),
        bench.driver.dial(&stale, PORT, GATEWAY).await.err(),
        bench.driver.start(&stale, &[]).await.err(),
    ];
    for error in errors {
        let current = matches!(&error, Some(DriverError::Stale { current, .. }) if current.0 == 7);
        ensure!(current, "{error:?}");
    }
    ensure!(talk.ask("'alive'").await? == "alive");
    Ok(None)
}

/// As when a start is overtaken by a destroy: whatever of it happens, happens
/// before the destroy, which leaves nothing.
async fn a_change_that_is_dropped_does_not_disturb_the_next(bench: &Bench) -> Outcome {
    let disk = bench.driver.capabilities().disk_limit.then_some(16 << 20);
    let spec = bench.spec_with("a", SERVER, |template| template.limits.disk = disk);
    let driver = &bench.driver;
    // Wherever it is after that long.
    for after in [0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 300].map(Duration::from_millis) {
        let begun = tokio::time::timeout(after, bench.run(&spec)).await;
        driver.destroy(&spec.id, Files::Remove).await.with_context(|| format!("{after:?}"))?;
        ensure!(driver.list().await?.iter().all(|f| f.id.key != spec.id.key), "{after:?}: listed");
        if let Ok(run) = begun {
            run?;
            break;
        }
    }
    bench.run(&spec).await?;
    let mut talk = bench.talk(&spec.id).await?;
    ensure!(talk.ask("1 + 1").await? == "2");
    let stopped = driver.stop(&spec.id, Duration::from_secs(10));
    drop(tokio::time::timeout(Duration::from_millis(1), stopped).await);
    driver.destroy(&spec.id, Files::Keep).await.context("after a stop")?;
    bench.run(&spec).await.context("again")?;
    Ok(None)
}

async fn what_does_not_exist_is_absent(bench: &Bench) -> Outcome {
    let id = bench.id("none");
    let absent = bench.driver.dial(&id, PORT, GATEWAY).await;
    ensure!(matches!(absent, Err(DriverError::Absent(_))), "{absent:?}");
    bench.driver.destroy(&id, Files::Remove).await?;
    Ok(None)
}

async fn list_shows_what_exists(bench: &Bench) -> Outcome {
    let (spec, _talk) = bench.serve("a").await?;
    let found = bench.driver.list().await?;
    let this = found.iter().find(|f| f.id == spec.id).context("it is not listed")?;
    ensure!(
        this.running && this.started_at.is_some() && this.template == spec.template.name.as_str()
    );
    bench.driver.destroy(&spec.id, Files::Keep).await?;
    ensure!(bench.driver.list().await?.iter().all(|f| f.id.key != spec.id.key));
    Ok(None)
}

async fn stats_are_of_the_sandbox(bench: &Bench) -> Outcome {
    let (spec, mut talk) = bench.serve("a").await?;
    let before = bench.driver.stats(&spec.id).await?;
    ensure!(talk.ask("len(globals().setdefault('hold', b'x' * 50_000_000))").await? == "50000000");
    talk.ask("sum(range(3_000_000))").await?;
    let after = bench.driver.stats(&spec.id).await?;
    ensure!(after.memory.context("no memory")? > before.memory.context("no memory")? + 40_000_000);
    ensure!(after.cpu.context("no CPU time")? > before.cpu.context("no CPU time")?);
    ensure!(after.pids.context("no processes")? >= 2);
    Ok(None)
}

async fn output_is_in_the_log(bench: &Bench) -> Outcome {
    let spec =
        bench.spec("a", "import sys; print('out', flush=True); print('err', file=sys.stderr)");
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    ensure!(bench.output(&spec.id) == "out\nerr\n", "{}", bench.output(&spec.id));
    Ok(None)
}

async fn sandboxes_do_not_share_ports_or_files(bench: &Bench) -> Outcome {
    let (_first, mut one) = bench.serve("a").await?;
    // The same port once more: it is free here.
    let (_second, mut two) = bench.serve("b").await?;
    ensure!(one.ask("open('/home/user/mine', 'w').write('x')").await? == "1");
    ensure!(one.ask("open('/tmp/mine', 'w').write('x')").await? == "1");
    ensure!(two.ask("os.listdir('/home/user') + os.listdir('/tmp')").await? == "[]");
    Ok(None)
}

async fn the_memory_limit_ends_the_command(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().memory_limit {
        return Ok(Some("this machine lets us limit no memory".into()));
    }
    let program = "hold = []\nwhile True: hold.append(b'x' * 1_000_000)";
    let spec = bench.spec_with("a", program, |template| template.limits.memory = Some(64 << 20));
    bench.run(&spec).await?;
    let exit = bench.driver.wait(&spec.id).await?;
    ensure!(exit == Exit::OutOfMemory, "{exit:?}");
    Ok(None)
}

async fn the_process_limit_holds(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().pids_limit {
        return Ok(Some("this machine lets us limit no processes".into()));
    }
    let program = "\
import os, sys
for count in range(200):
    try:
        if os.fork() == 0:
            os.read(os.pipe()[0], 1)
    except OSError:
        break
print(count, flush=True)";
    let spec = bench.spec_with("a", program, |template| template.limits.pids = Some(20));
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    let count: u32 = bench.output(&spec.id).trim().parse().context("a number")?;
    ensure!((10..=20).contains(&count), "{count} processes with a limit of 20");
    Ok(None)
}

async fn the_disk_limit_holds(bench: &Bench) -> Outcome {
    if !bench.driver.capabilities().disk_limit {
        return Ok(Some("this machine lets us limit no disk".into()));
    }
    let program = "\
import os, errno
written = 0
try:
    with open('/home/user/fill', 'wb') as f:
        while True: written += f.write(b'x' * 1_000_000)
except OSError as problem:
    print(errno.errorcode[problem.errno], 20 < written / 1_000_000 < 64)
os.remove('/home/user/fill')
open('/home/user/kept', 'w').write('kept')
print(os.path.exists('/home/user/before'))
open('/home/user/before', 'w')";
    let spec = bench.spec_with("a", program, |template| template.limits.disk = Some(64 << 20));
    bench.run(&spec).await?;
    bench.driver.wait(&spec.id).await?;
    bench.driver.start(&spec.id, &[]).await?;
    bench.driver.wait(&spec.id).await?;
    let output = bench.output(&spec.id);
    ensure!(output == "ENOSPC True\nFalse\nENOSPC True\nTrue\n", "{output}");
    Ok(None)
}
