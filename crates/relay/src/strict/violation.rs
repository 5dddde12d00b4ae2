//! What a head or a chunk can have wrong with it, and what the client is told.

use http::StatusCode;

macro_rules! violations {
    ($($(#[doc = $doc:literal])+ $name:ident $status:literal $code:literal,)+) => {
        /// Why a message has no single interpretation, or is too large.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Violation { $($(#[doc = $doc])+ $name,)+ }

        impl Violation {
            /// Stable name, for clients and logs.
            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What a person is told.
            pub(crate) const fn detail(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            pub(crate) fn status(self) -> StatusCode {
                let status = match self { $(Self::$name => $status,)+ };
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
            }
        }
    };
}

violations! {
    /// A line does not end with CR LF.
    LineEnd 400 "line-end",
    /// A control character stands where none may.
    Control 400 "control-character",
    /// The request line is not `METHOD target HTTP/1.x`.
    RequestLine 400 "request-line",
    /// The method is not a token.
    Method 400 "method",
    /// This method is not served.
    MethodRefused 405 "method-refused",
    /// The request target is malformed.
    Target 400 "target",
    /// The request target is too long.
    TargetTooLong 414 "target-too-long",
    /// This version of HTTP is not served here.
    Version 505 "version",
    /// A field continues on the next line (obs-fold).
    Fold 400 "folded-field",
    /// A field has no colon, or white space before it, or no valid name.
    FieldName 400 "field-name",
    /// `Content-Length` is not one number of digits only.
    ContentLength 400 "content-length",
    /// `Content-Length` and `Transfer-Encoding` stand together.
    LengthAndEncoding 400 "length-and-encoding",
    /// `Transfer-Encoding` is not `chunked` alone, once, in HTTP/1.1.
    TransferEncoding 400 "transfer-encoding",
    /// `Host` is not there exactly once with a valid host.
    Host 400 "host",
    /// The head has too many fields.
    TooManyFields 431 "too-many-fields",
    /// The head is too large.
    HeadTooLarge 431 "head-too-large",
    /// A chunk's size line is malformed.
    ChunkSize 400 "chunk-size",
    /// A chunk does not end with CR LF.
    ChunkEnd 400 "chunk-end",
    /// A trailer field is malformed or may not stand in a trailer.
    Trailer 400 "trailer",
}
