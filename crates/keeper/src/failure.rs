//! Errors with the step that they happened in.

use std::io;

use tidegate_keeper::protocol::Failure;

/// Names the step that a system call belonged to.
pub(crate) trait During<T> {
    /// Turns an error into a [`Failure`] during `step`.
    fn during(self, step: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step: step.to_owned(),
            errno: error.into().raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

/// A failure that no system call reported.
pub(crate) fn failure(step: &str, errno: i32) -> Failure {
    Failure { step: step.to_owned(), errno }
}
