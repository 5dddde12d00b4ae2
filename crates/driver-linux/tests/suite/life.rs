//! A sandbox's life, from create to destroy.

use tidegate_sandbox::Driver;
use tidegate_sandbox::driver::{Exit, Files};

use crate::ground::{Ground, ask, connect, evaluator, run, script, spec, template};

#[tokio::test]
async fn a_command_runs_as_its_own_user_in_its_own_world() {
    let ground = Ground::new();
    let said =
        script(&ground, "world", "id -u; echo $$; pwd; hostname; ls /; ls /home; cat /etc/hosts")
            .await;
    println!("{said}");
    assert!(said.starts_with("1000\n"), "{said}");
}

#[tokio::test]
async fn it_is_dialled_and_stopped_and_destroyed() {
    let ground = Ground::new();
    let spec = evaluator("dial");
    run(&ground.driver, &spec, &[("SECRET", "s3cret")]).await;
    let mut stream = connect(&ground.driver, &spec.id, 8080).await;
    assert_eq!(ask(&mut stream, "os.environ['SECRET']").await, "s3cret");
    assert_eq!(ask(&mut stream, "peer").await, "100.64.0.1");
    let exit =
        ground.driver.stop(&spec.id, std::time::Duration::from_secs(5)).await.expect("stops");
    assert_eq!(exit, Exit::Signal(15));
    ground.driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
    assert!(ground.driver.list().await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_command_that_ends_at_once_was_started_all_the_same() {
    let ground = Ground::new();
    // Many at a time: the keepers read late of commands that are gone by then.
    for round in 0..4 {
        let short = |n: usize| spec(&format!("short-{round}-{n}"), template(&["/bin/true"]));
        let specs: Vec<_> = (0..16).map(short).collect();
        futures_util::future::join_all(specs.iter().map(|spec| async {
            run(&ground.driver, spec, &[]).await;
            let exit = ground.driver.wait(&spec.id).await.expect("ends");
            assert_eq!(exit, Exit::Code(0), "{:?}", spec.id);
            ground.driver.destroy(&spec.id, Files::Remove).await.expect("destroys");
        }))
        .await;
    }
}
