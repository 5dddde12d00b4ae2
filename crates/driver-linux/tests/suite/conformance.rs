//! The suite that every driver passes.

use tidegate_testkit::driver_conformance::{self, Subject, Verdict};

use crate::ground::{Ground, PYTHON, template};

#[tokio::test]
async fn the_driver_does_what_every_driver_must() {
    let ground = Ground::new();
    let subject = Subject { template: template(&[]), python: PYTHON.into() };
    let driver = std::sync::Arc::clone(&ground.driver);
    let reports = driver_conformance::run(driver, &subject).await;
    for report in &reports {
        println!("{report}");
    }
    let failed: Vec<_> =
        reports.iter().filter(|r| matches!(r.verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
