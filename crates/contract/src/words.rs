//! Closed sets of words, read with tolerance.
//!
//! A set has a word for what it does not know (`OTHER` or `other`). Case does not matter when a word is read. A word
//! outside the set is an error here; whoever reads a whole answer puts the set's own word for the unknown in its place
//! and keeps the bot's word beside it, in `<field>_raw`.

/// Defines a closed set of words: the enum, its texts, and reading that takes upper and lower case alike.
macro_rules! closed_words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $( $(#[$note:meta])* $variant:ident = $text:tt, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $( $(#[$note])* #[serde(rename = $text)] $variant, )+
        }

        impl $name {
            /// Every word of the set.
            pub const WORDS: &[&str] = &[$($text),+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                match text.as_str() {
                    $( known if known.eq_ignore_ascii_case($text) => Ok(Self::$variant), )+
                    unknown => Err(serde::de::Error::unknown_variant(unknown, Self::WORDS)),
                }
            }
        }
    };
}

pub(crate) use closed_words;
