//! The gateway ends, well or not, and another begins.

use std::path::Path;
use std::time::Duration;

use tidegate_sandbox::driver::{Exit, SandboxId};
use tidegate_sandbox::{LedgerError, OpenError, Phase, WakeError};
use tidegate_types::{Incarnation, Lifetime};
use tokio::time::sleep;

use crate::house::{House, IDLE, key, open, placement, until, until_phase};

#[tokio::test(start_paused = true)]
async fn what_runs_is_adopted_and_served_without_a_start() {
    let house = House::with(Lifetime::KeepAlive).await;
    for name in ["a", "b", "c"] {
        house.running(name).await;
    }
    house.registry.stop(&key("b"), None).await.expect("stops");
    house.fake.calls();
    let house = house.again().await;
    let sandbox = house.sandbox("a");
    drop(sandbox.admit().await.expect("adopted"));
    assert_eq!(house.registry.get(&key("b")).expect("recorded").phase(), Phase::Stopped);
    until_phase(&house.sandbox("c"), Phase::Running).await;
    assert_eq!(house.fake.calls(), Vec::<String>::new());
    assert_eq!(house.registry.meters().adoptions.get(), 2);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn an_adopted_sandbox_lives_on_as_if_nothing_had_been() {
    let house = House::new().await;
    house.running("a").await;
    let house = house.again().await;
    let sandbox = house.running("a").await;
    assert_eq!(sandbox.id().incarnation, Incarnation(1));
    sleep(IDLE + Duration::from_secs(2)).await;
    until_phase(&sandbox, Phase::Stopped).await;
    drop(sandbox.admit().await.expect("starts"));
    assert_eq!(house.fake.count("start"), 2);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_gateway_looked_rests_or_is_kept_alive() {
    for (lifetime, phase) in
        [(Lifetime::SleepAfter(IDLE), Phase::Stopped), (Lifetime::KeepAlive, Phase::Running)]
    {
        let house = House::with(lifetime).await;
        house.running("a").await;
        house.registry.shutdown().await;
        house.fake.kill(&key("a"), Exit::Signal(9));
        let house = house.again().await;
        let sandbox = house.registry.get(&key("a")).expect("recorded");
        until_phase(&sandbox, phase).await;
        drop(sandbox.admit().await.expect("starts"));
        house.fake.assert_used_well();
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_recorded_is_ended_and_its_files_are_kept() {
    let house = House::new().await;
    let stray = SandboxId { key: key("stray"), incarnation: Incarnation(41) };
    house.fake.plant(&stray, true);
    let house = house.again().await;
    assert!(!house.fake.exists(&stray.key) && house.fake.has_files(&stray.key));
    assert!(house.registry.list().is_empty());
    assert!(house.running("stray").await.id().incarnation > stray.incarnation);
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn another_life_of_a_recorded_sandbox_is_not_adopted() {
    let house = House::new().await;
    house.running("a").await;
    house.registry.shutdown().await;
    house.fake.plant(&SandboxId { key: key("a"), incarnation: Incarnation(7) }, true);
    let house = house.again().await;
    assert!(!house.fake.exists(&key("a")));
    let sandbox = house.registry.get(&key("a")).expect("recorded");
    assert_eq!(sandbox.phase(), Phase::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_was_cut_short_is_finished() {
    let house = House::new().await;
    house.running("a").await;
    house.fake.script(|script| script.destroy_fails = true);
    assert!(house.registry.destroy(&key("a"), None).await.is_err());
    house.registry.shutdown().await;
    house.fake.script(|script| script.destroy_fails = false);
    let house = house.again().await;
    until("it is gone", || house.registry.get(&key("a")).is_none()).await;
    assert!(!house.fake.exists(&key("a")) && !house.fake.has_files(&key("a")));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_cut_short_is_cleared_away_or_adopted() {
    let house = House::new().await;
    house.fake.script(|script| script.ready_after = None);
    let sandbox = house.sandbox("a");
    let waiting = tokio::spawn(async move { sandbox.admit().await });
    until("it hangs", || house.fake.is_running(&key("a"))).await;
    house.registry.shutdown().await;
    let outcome = waiting.await.expect("no panic");
    assert!(matches!(outcome, Err(WakeError::ShuttingDown)), "{outcome:?}");
    let late = house.sandbox("b").admit().await;
    assert!(matches!(late, Err(WakeError::ShuttingDown)), "{late:?}");
    let house = house.again().await;
    // It runs and isn't ready: that is what it is again.
    let sandbox = house.registry.get(&key("a")).expect("recorded");
    assert_eq!(sandbox.phase(), Phase::Starting);
    house.registry.stop(&key("a"), None).await.expect("stops");
    assert!(!house.fake.exists(&key("a")));
    house.fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_whose_template_is_gone_rests_until_a_placement_names_another() {
    let house = House::new().await;
    house.running("a").await;
    house.registry.shutdown().await;
    let House { registry, fake, dir, template } = house;
    drop(registry);
    let registry = open(&dir, &fake, &[]).await.expect("opens");
    assert!(!fake.exists(&key("a")));
    let error = registry.wake(&key("a"), None).await.expect_err("no template");
    assert_eq!(error.to_string(), "sandbox `acme/a` did not start");
    let sandbox = registry.find_or_create(&key("a"), &placement("a"), &template);
    registry.stop(&key("a"), None).await.expect("clears the back-off");
    drop(sandbox.admit().await.expect("starts"));
    fake.assert_used_well();
}

#[tokio::test(start_paused = true)]
async fn one_state_directory_serves_one_gateway() {
    let house = House::new().await;
    let second = open(&house.dir, &house.fake, &[]).await.expect_err("in use");
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
}

type Damage = fn(&Path);

async fn check(damage: Damage, expected: &str) {
    let House { registry, fake, dir, .. } = {
        let house = House::new().await;
        house.running("a").await;
        house.registry.shutdown().await;
        house
    };
    drop(registry);
    let path = dir.path().join("ledger.redb");
    damage(&path);
    let before = std::fs::read(&path).expect("is there");
    let error = open(&dir, &fake, &[]).await.expect_err("not a ledger");
    let OpenError::Ledger(error) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    let kind = match error {
        LedgerError::Damaged { .. } => "damaged".to_owned(),
        LedgerError::Version { found, .. } => format!("format {found}"),
        LedgerError::Access { .. } => format!("access: {error}"),
    };
    assert_eq!(kind, expected);
    assert!(std::fs::read(&path).expect("is there") == before, "nothing was changed");
    assert!(fake.is_running(&key("a")), "nothing was ended");
    // Said again the next time, not taken for a new one.
    assert!(open(&dir, &fake, &[]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_ledger_is_refused_and_nothing_is_ended() {
    let noise: Damage = |path| std::fs::write(path, b"x".repeat(100_000)).expect("writes");
    let text: Damage = |path| std::fs::write(path, b"hello").expect("writes");
    let short: Damage = |path| {
        let file = std::fs::File::options().write(true).open(path).expect("opens");
        file.set_len(5000).expect("cuts");
    };
    // Every page but the first overwritten.
    let pages: Damage = |path| {
        let mut bytes = std::fs::read(path).expect("reads");
        bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0xa5);
        std::fs::write(path, bytes).expect("writes");
    };
    for damage in [noise, text, short, pages] {
        check(damage, "damaged").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ledger_of_another_version_is_refused_and_nothing_is_ended() {
    let version: Damage = |path| {
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        let database = redb::Database::open(path).expect("opens");
        let transaction = database.begin_write().expect("begins");
        transaction.open_table(meta).expect("opens").insert("format", 2).expect("writes");
        transaction.commit().expect("commits");
    };
    check(version, "format 2").await;
}
