//! Everything that is refused, each with its sentence.

use std::fmt;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is wrong with a request's head or with the framing of its body.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($(#[$doc])* $name,)*
        }

        impl Violation {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is wrong, in one sentence for the client.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

violations! {
    /// The first byte cannot begin a request: TLS, or another protocol.
    NotHttp = "This is not an HTTP request. Use http://, not https://, on this port.",
    /// The preface of HTTP/2, or its version.
    Http2 = "This server speaks HTTP/1.1 here, not HTTP/2.",
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version = "The HTTP version must be HTTP/1.1 or HTTP/1.0.",
    /// Not `method target version` with single spaces.
    RequestLine = "The request line must be a method, a target and a version with one space between them.",
    /// CONNECT.
    Connect = "CONNECT is not supported: this server is not a proxy of that kind.",
    /// TRACE.
    Trace = "TRACE is not supported.",
    /// Neither a path nor `*`.
    Target = "The request target must be a path that begins with '/', without a scheme or an authority.",
    /// A byte that must be percent-encoded.
    TargetByte = "The request target contains a character that must be percent-encoded.",
    /// A target too long.
    TargetTooLong = "The request target is too long.",
    /// A LF without CR.
    BareLf = "Lines must end with CR LF: there is a bare LF in the request head.",
    /// A CR without LF.
    BareCr = "Lines must end with CR LF: there is a bare CR in the request head.",
    /// A control byte in a value.
    ControlByte = "A header value contains a control character.",
    /// A line that begins with a space.
    Folded = "A header line begins with white space: folded header lines are not allowed.",
    /// No colon.
    NoColon = "A header line has no colon.",
    /// Nothing before the colon.
    EmptyName = "A header has no name.",
    /// White space before the colon.
    SpaceBeforeColon = "There is white space between a header name and its colon.",
    /// A name that is no token.
    Name = "A header name contains a character that is not allowed there.",
    /// More than 100.
    TooManyHeaders = "The request has more than 100 headers.",
    /// The head's limit.
    HeadTooLarge = "The request head is larger than this server accepts.",
    /// None in HTTP/1.1.
    NoHost = "The request has no Host header.",
    /// Several.
    TwoHosts = "The request has more than one Host header.",
    /// Empty, or not a host.
    Host = "The Host header is not a host with an optional port.",
    /// Several.
    TwoLengths = "The request has more than one Content-Length header.",
    /// Not digits, or too many.
    Length = "The Content-Length header is not one decimal number.",
    /// Both framings.
    LengthAndEncoding = "The request has both Content-Length and Transfer-Encoding.",
    /// Not `chunked`, once.
    Encoding = "The only Transfer-Encoding accepted is 'chunked', once.",
    /// In HTTP/1.0.
    EncodingIn10 = "HTTP/1.0 requests cannot have a Transfer-Encoding.",
    /// Another protocol.
    Upgrade = "This server does not upgrade connections to another protocol.",
    /// In a body: the size of a chunk.
    ChunkSize = "The size of a chunk of the request body is not a hexadecimal number.",
    /// In a body: a chunk too large.
    ChunkTooLarge = "The size of a chunk of the request body is too large.",
    /// In a body: a chunk's extension.
    ChunkExtension = "An extension of a chunk of the request body contains a control character.",
    /// In a body: extensions too long.
    ExtensionTooLong = "The extensions of the chunks of the request body are too long.",
    /// In a body: the end of a chunk or of its size line.
    ChunkEnd = "A chunk of the request body, or the line of its size, does not end with CR LF.",
    /// In a body: a trailer that is no header line.
    Trailer = "A trailer of the request body is malformed.",
    /// In a body: a trailer that would change the framing.
    TrailerName = "A trailer of the request body has a name that is not allowed there.",
    /// In a body: trailers too large.
    TrailersTooLarge = "The trailers of the request body are larger than this server accepts.",
}

impl Violation {
    /// Whether the request is too large (431), not malformed (400).
    #[must_use]
    pub const fn too_large(self) -> bool {
        matches!(self, Self::HeadTooLarge | Self::TooManyHeaders | Self::TargetTooLong)
    }

    /// Whether it is in a body, whose request the service already has.
    #[must_use]
    pub const fn in_body(self) -> bool {
        matches!(
            self,
            Self::ChunkSize
                | Self::ChunkTooLarge
                | Self::ChunkExtension
                | Self::ExtensionTooLong
                | Self::ChunkEnd
                | Self::Trailer
                | Self::TrailerName
                | Self::TrailersTooLarge
        )
    }

    pub(super) const fn number(self) -> usize {
        self as usize
    }

    pub(super) fn numbered(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Violation {}
