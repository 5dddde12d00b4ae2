//! `tokens`: cryptography, with keys that the plugin never sees.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wasmtime::bail;

use super::bounded;
use crate::bindings::tidegate::host::tokens::{Claims, Host, Invalid};
use crate::state::State;
use crate::tokens::{BadToken, seal, verify};

/// What a plugin may ask for at once.
const MAX_RANDOM: u32 = 64;

impl Host for State {
    fn verify_jwt(
        &mut self,
        key_set: String,
        token: String,
    ) -> wasmtime::Result<Result<Claims, Invalid>> {
        self.costly()?;
        let Some(keys) = self.around.key_sets.get(&key_set) else {
            bail!("there is no key set called `{key_set}`");
        };
        let now = self.call.now_ms() / 1_000;
        let verified = verify(keys, &token, now);
        Ok(verified.map(|json| Claims { json }).map_err(|bad| match bad {
            BadToken::Malformed => Invalid::Malformed,
            BadToken::UnknownKey(id) => Invalid::UnknownKey(id),
            BadToken::BadSignature => Invalid::BadSignature,
            BadToken::Expired => Invalid::Expired,
            BadToken::NotYetValid => Invalid::NotYetValid,
            BadToken::WrongIssuer => Invalid::WrongIssuer,
            BadToken::WrongAudience => Invalid::WrongAudience,
            BadToken::ForbiddenAlgorithm => Invalid::ForbiddenAlgorithm,
        }))
    }

    fn hmac_sha256(
        &mut self,
        secret: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.costly()?;
        bounded(&message)?;
        let Some(key) = self.around.secrets.get(&secret) else {
            return Ok(Err(format!("there is no secret called `{secret}`")));
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes())?;
        mac.update(&message);
        Ok(Ok(mac.finalize().into_bytes().to_vec()))
    }

    fn sha256(&mut self, message: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.costly()?;
        bounded(&message)?;
        Ok(Sha256::digest(&message).to_vec())
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        self.costly()?;
        bounded(&a)?;
        bounded(&b)?;
        // Digests: neither content nor a difference in length shows in the time.
        Ok(Sha256::digest(&a).as_slice().ct_eq(Sha256::digest(&b).as_slice()).into())
    }

    fn random(&mut self, n: u32) -> wasmtime::Result<Vec<u8>> {
        self.host_call()?;
        self.reads.note_volatile();
        if n > MAX_RANDOM {
            bail!("{n} random bytes were asked for; at most {MAX_RANDOM} are given");
        }
        Ok((0..n).map(|_| rand::random()).collect())
    }

    fn seal(
        &mut self,
        secret: String,
        context: String,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.costly()?;
        bounded(&message)?;
        bounded(context.as_bytes())?;
        let Some(key) = self.around.secrets.get(&secret) else {
            return Ok(Err(format!("there is no secret called `{secret}`")));
        };
        let sealed = seal::seal(key, &self.around.name, &context, &message);
        Ok(sealed.map_err(|why| format!("the secret `{secret}` {why}")))
    }

    fn open(
        &mut self,
        secret: String,
        context: String,
        sealed: Vec<u8>,
    ) -> wasmtime::Result<Option<Vec<u8>>> {
        self.costly()?;
        bounded(&sealed)?;
        bounded(context.as_bytes())?;
        let key = self.around.secrets.get(&secret);
        Ok(key.and_then(|key| seal::open(key, &self.around.name, &context, &sealed)))
    }
}
