//! Header fields: those that the shell passes, and those that the policy makes.

use std::fmt;

/// One header field of a client or an upstream: record `header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lower-case name, one of those the policy asked for.
    pub name: String,
    /// Value.
    pub value: String,
}

/// One header field that the policy makes: record `header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnHeader {
    /// Its name.
    pub name: Own,
    /// Value.
    pub value: String,
}

impl OwnHeader {
    /// A header of this name.
    pub fn new(name: Own, value: impl Into<String>) -> Self {
        Self { name, value: value.into() }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! own {
    ($($name:ident = $text:literal,)*) => {
        /// The names of headers that the policy makes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Own {
            $(#[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl Own {
            /// Every name, each at its [`Own::place`]: `loaded.own-headers`.
            pub const NAMES: &'static [&'static str] = &[$($text,)*];
            /// The same, as values.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, in lower case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Where it stands among [`Own::NAMES`], from 0.
            pub const fn place(self) -> u32 {
                self as u32
            }
        }
    };
}

own! {
    Allow = "allow",
    ContentType = "content-type",
    LimitRequests = "x-ratelimit-limit-requests",
    LimitTokens = "x-ratelimit-limit-tokens",
    RemainingRequests = "x-ratelimit-remaining-requests",
    RemainingTokens = "x-ratelimit-remaining-tokens",
    ResetRequests = "x-ratelimit-reset-requests",
    ResetTokens = "x-ratelimit-reset-tokens",
    RetryAfter = "retry-after",
    RetryAfterMs = "retry-after-ms",
    ShouldRetry = "x-should-retry",
    TollgateAttempts = "x-tollgate-attempts",
    TollgateContext = "x-tollgate-context",
    TollgateUpstream = "x-tollgate-upstream",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_said_once_in_lower_case_and_stands_at_its_place() {
        for (place, (own, name)) in (0..).zip(Own::ALL.iter().zip(Own::NAMES)) {
            assert_eq!((own.place(), own.as_str()), (place, *name));
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert_eq!(Own::NAMES.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }
}
