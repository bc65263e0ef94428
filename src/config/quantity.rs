//! Quantities as people write them: `"4 MiB"`, `"500ms"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The binary units, largest first. Decimal ones (`MB`) are refused: half of the readers take them for binary.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes: an integer, or a text such as `"4 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A text that is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// No number, or an unknown unit.
    #[error("write whole bytes, or a whole number with B, KiB, MiB or GiB, such as \"4 MiB\"")]
    Form,
    /// More than 64 bits of bytes, or less than none.
    #[error("it is no possible number of bytes; use 0 to 17179869183 GiB")]
    Range,
}

impl ByteSize {
    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// In the largest unit that divides it: `4 MiB`, `1500 B`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, size): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*size);
        match UNITS.iter().find(fits) {
            Some((unit, size)) => write!(f, "{} {unit}", self.0 / size),
            None => f.write_str("0 B"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = match unit.trim() {
            "" => "B",
            unit => unit,
        };
        let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size).ok_or(ByteSizeError::Form)?;
        if number.is_empty() {
            return Err(ByteSizeError::Form);
        }
        let number: u64 = number.parse().map_err(|_| ByteSizeError::Range)?;
        number.checked_mul(size).map(Self).ok_or(ByteSizeError::Range)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("whole bytes, or a text such as \"4 MiB\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::custom(ByteSizeError::Range))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<ByteSize, E> {
                value.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Bytes)
    }
}

/// A length of time in a file: a text such as `"500ms"` or `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit in quotes, such as \"500ms\" or \"2s\"")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Period, E> {
                let parsed = humantime::parse_duration(value);
                parsed.map(Period).map_err(|e| E::custom(format!("{e}; write a time such as \"500ms\" or \"2s\"")))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_sizes_parse_with_and_without_unit() {
        for (text, bytes) in [("4 MiB", 4 << 20), ("1GiB", 1 << 30), ("512", 512), (" 2 KiB ", 2048), ("7 B", 7)] {
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)), "{text}");
        }
    }

    #[test]
    fn byte_sizes_refuse_decimal_units_fractions_signs_and_overflow() {
        for text in ["4 MB", "1.5 MiB", "-1", "", "MiB", "4 mib"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::Form), "{text}");
        }
        for text in ["18446744073709551616", "17179869184 GiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::Range), "{text}");
        }
    }

    #[test]
    fn byte_sizes_print_in_the_largest_unit_that_divides_them() {
        for text in ["4 MiB", "1 GiB", "1500 B", "0 B", "3 KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
