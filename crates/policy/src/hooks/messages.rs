//! What becomes of this WebSocket message?

use std::hash::{Hash as _, Hasher};

use tidegate_plausible::{self as plausible, Implausible};
use tidegate_types::{Message, MessageVerdict, Way};
use wasmtime::component::Resource;

use super::{Answer, Question, the};
use crate::Hook;
use crate::bindings::exports::tidegate::policy::messages as raw;
use crate::instance::{HookFunc, Hooks};
use crate::interfaces::{IdentityHandle, SandboxHandle};

/// Bytes that a message may be replaced by, where it wasn't longer itself.
const MAX_REPLACEMENT: usize = 1 << 20;

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

    fn given(&self, mut into: &mut dyn Hasher) {
        self.way.hash(&mut into);
        match self.message {
            Message::Text(text) => ("text", text).hash(&mut into),
            Message::Binary(bytes) => ("binary", bytes).hash(&mut into),
        }
    }

    fn believe(&self, raw: raw::Outcome) -> Result<Answer<Option<MessageVerdict>>, Implausible> {
        let replaced = |by: Message| {
            let most = MAX_REPLACEMENT.max(self.message.len());
            plausible::replacement(by.len(), most).map(|()| Some(MessageVerdict::Forward(by)))
        };
        Ok(Answer::Granted(match raw {
            raw::Outcome::Forward => None,
            raw::Outcome::Replace(raw::Payload::Text(text)) => replaced(Message::Text(text))?,
            raw::Outcome::Replace(raw::Payload::Binary(bytes)) => {
                replaced(Message::Binary(bytes.into()))?
            }
            raw::Outcome::Discard => Some(MessageVerdict::Discard),
            raw::Outcome::Close(raw::CloseFrame { code, reason }) => {
                Some(plausible::close(code, reason)?)
            }
        }))
    }
}
