//! What becomes of this WebSocket message?

use tidegate_types::{Message, MessageVerdict, Way};
use wasmtime::component::Resource;

use super::{Answer, Implausible, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::messages as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::{IdentityHandle, SandboxHandle};

/// What fits into a close frame beside its code (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

/// The question `messages`.
pub(crate) struct WhatBecomesOf<'m> {
    pub(crate) way: Way,
    pub(crate) message: &'m Message,
}

impl Question for WhatBecomesOf<'_> {
    type Params = (Resource<IdentityHandle>, Resource<SandboxHandle>, raw::Direction, raw::Payload);
    type Raw = raw::Outcome;
    /// `None`: it goes on as it is.
    type Value = Option<MessageVerdict>;

    const HOOK: Hook = Hook::Messages;

    fn of(hooks: &Hooks) -> Option<HookFunc<Self::Params, Self::Raw>> {
        hooks.messages
    }

    fn params(&self) -> Self::Params {
        let way = match self.way {
            Way::ToSandbox => raw::Direction::ToSandbox,
            Way::ToClient => raw::Direction::ToClient,
        };
        let payload = match self.message {
            Message::Text(text) => raw::Payload::Text(text.clone()),
            Message::Binary(bytes) => raw::Payload::Binary(bytes.to_vec()),
        };
        (the(), the(), way, payload)
    }

    fn believe(&self, raw: raw::Outcome) -> Result<Answer<Option<MessageVerdict>>, Implausible> {
        Ok(Answer::Granted(match raw {
            raw::Outcome::Forward => None,
            raw::Outcome::Replace(raw::Payload::Text(text)) => {
                Some(MessageVerdict::Forward(Message::Text(text)))
            }
            raw::Outcome::Replace(raw::Payload::Binary(bytes)) => {
                Some(MessageVerdict::Forward(Message::Binary(bytes.into())))
            }
            raw::Outcome::Discard => Some(MessageVerdict::Discard),
            raw::Outcome::Close(raw::CloseFrame { code, reason }) => {
                if !matches!(code, 1000 | 1008 | 3000..=4999) {
                    return Err(Implausible(format!("a close with code {code}")));
                }
                if reason.len() > MAX_REASON {
                    return Err(Implausible(format!("a close reason of {} bytes", reason.len())));
                }
                Some(MessageVerdict::Close { code, reason })
            }
        }))
    }
}
