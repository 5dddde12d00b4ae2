//! Whatever a plugin answers: judging it never panics, a refusal names the field in
//! legible words, and what is believed keeps what the rest of the gateway relies on.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidegate_plausible as plausible;
use tidegate_plausible::Implausible;
use tidegate_types::{LimitKind, MessageVerdict, Meter, Mount, MountMode, SandboxName, Scope};

#[derive(Debug, Arbitrary)]
enum Answer {
    Denial {
        status: u16,
        code: String,
        message: String,
        headers: Vec<(String, String)>,
    },
    Principal {
        subject: String,
        tenant: String,
        claims: Vec<(String, String)>,
        expires: u64,
    },
    Places {
        cookie: String,
        query_param: String,
        header: String,
        count: usize,
    },
    Names {
        one: String,
        other: String,
    },
    Placement {
        template: String,
        port: u16,
        sleep_after: u64,
        env: Vec<(String, String)>,
        labels: Vec<(String, String)>,
        path: String,
    },
    Limit {
        amount: u64,
        per: Option<u64>,
        burst: Option<u64>,
    },
    Mounts(Vec<(String, String, String)>),
    Close {
        code: u16,
        reason: String,
    },
    Replacement {
        length: usize,
        most: usize,
    },
}

fuzz_target!(|answer: Answer| {
    if let Err(wrong) = judge(answer) {
        assert!(!wrong.field.is_empty(), "{wrong:?}");
        let told = wrong.to_string();
        assert!(!told.contains(char::is_control), "{told:?}");
        assert!(told.len() < 2_048, "{told}");
    }
});

fn judge(answer: Answer) -> Result<(), Implausible> {
    match answer {
        Answer::Denial { status, code, message, headers } => {
            let denial = plausible::denial(status, code, message, headers)?;
            let status = denial.status;
            let located = denial.headers.iter().any(|(name, _)| name == http::header::LOCATION);
            assert!(status.is_client_error() || status.is_redirection() && located, "{status}");
            assert!(!denial.code.is_empty() && denial.code.is_ascii());
            assert!(!denial.message.contains(char::is_control));
            for (_, value) in &denial.headers {
                assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
        }
        Answer::Principal { subject, tenant, claims, expires } => {
            let subject = plausible::subject(&subject)?;
            let tenant = plausible::tenant(&tenant)?;
            plausible::claims(&claims)?;
            plausible::expiry(expires)?;
            for name in [subject.as_str(), tenant.as_str()] {
                assert!((1..=256).contains(&name.len()) && !name.contains(char::is_control));
            }
            let component = tenant.path_component();
            assert!(!component.contains(['/', '.', '\0']) && component.len() <= 63);
        }
        Answer::Places { cookie, query_param, header, count } => {
            plausible::number_of_places(count)?;
            plausible::field_name(&header, plausible::Direction::Request)?;
            plausible::query_param(query_param)?;
            let cookie = plausible::cookie(cookie)?;
            assert!(!cookie.contains([';', '=', ' ', '\r', '\n']));
        }
        Answer::Names { one, other } => {
            let (first, second) = (plausible::sandbox(&one)?, plausible::sandbox(&other)?);
            assert_eq!(one == other, first == second, "{one:?} and {other:?} became {first}");
            assert!(SandboxName::new(first.as_str()).is_ok());
        }
        Answer::Placement { template, port, sleep_after, env, labels, path } => {
            plausible::template(&template, |_| true)?;
            assert_ne!(plausible::port(port)?, 0);
            assert!(plausible::sleep_after(sleep_after)? > Duration::ZERO);
            plausible::environment(&env)?;
            plausible::labels(&labels)?;
            let path = plausible::path(path)?;
            let parsed: http::uri::PathAndQuery = path.parse().expect("it stands in a request");
            assert_eq!((parsed.path(), parsed.query()), (path.as_str(), None));
            for (name, value) in &env {
                assert!(!name.contains(['=', '\0']) && !value.contains('\0'));
            }
        }
        Answer::Limit { amount, per, burst } => {
            let limit = plausible::limit(0, Meter::Requests, amount, per, burst, Scope::Tenant)?;
            if let LimitKind::Rate { amount, per, burst } = limit.kind {
                assert!((amount == 0 || burst > 0) && !per.is_zero());
                assert!(per.as_nanos() <= u128::from(u64::MAX));
            }
        }
        Answer::Mounts(asked) => {
            let mut mounts = Vec::new();
            for (index, (bucket, prefix, path)) in asked.into_iter().enumerate() {
                mounts.push(plausible::mount(
                    index,
                    Mount {
                        bucket,
                        prefix,
                        path,
                        mode: MountMode::Workspace,
                        read_only: false,
                        max_bytes: None,
                        max_objects: None,
                    },
                )?);
            }
            plausible::apart(&mounts)?;
            for mount in &mounts {
                assert!(mount.prefix.ends_with('/') && !mount.prefix.starts_with('/'));
                assert!(mount.path.starts_with('/') && !mount.path.ends_with('/'));
                for text in [&mount.prefix, &mount.path] {
                    assert!(!text.split('/').any(|part| matches!(part, "." | "..")), "{text}");
                    assert!(!text.contains("//") && !text.contains('\0'), "{text}");
                }
            }
        }
        Answer::Close { code, reason } => {
            let MessageVerdict::Close { code, reason } = plausible::close(code, reason)? else {
                panic!("another verdict");
            };
            assert!(matches!(code, 1000 | 1008 | 3000..=4999) && reason.len() <= 123);
        }
        Answer::Replacement { length, most } => {
            plausible::replacement(length, most)?;
            assert!(length <= most);
        }
    }
    Ok(())
}
