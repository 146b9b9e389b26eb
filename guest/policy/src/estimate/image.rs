//! What an image costs: OpenAI's rule for models of the kind of gpt-4o.
//!
//! In low detail an image is 85 tokens. Otherwise it is made to fit into 2048 x 2048, then its shorter side into 768,
//! and each square of 512 pixels that is needed to cover it is 170 tokens more
//! (<https://platform.openai.com/docs/guides/images-vision>). Where the size cannot be read the most is taken.

use super::base64::Base64;

/// How closely a model looks at an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// `low`.
    Low,
    /// `high`, `auto` (which is high unless the image is small), whatever else, and nothing.
    #[default]
    High,
}

/// The sides of an image, in pixels, neither of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    width: u32,
    height: u32,
}

const BASE: u64 = 85;
const TILE: u64 = 170;
const TILE_SIDE: u64 = 512;
const LONGEST_SIDE: u64 = 2048;
const LONGEST_SHORTER_SIDE: u64 = 768;

/// 2048 x 768 pixels are four by two tiles.
const MOST_TILES: u64 = 8;

/// The most that any model of OpenAI's takes for an image. gpt-4o-mini counts 2,833 tokens and 5,667 for each tile.
const MOST: u64 = MOST_TILES.wrapping_mul(5_667).wrapping_add(2_833);

/// The same in low detail, which some models do not know: 1,536 patches of 2.46 tokens (gpt-4.1-nano).
const MOST_LOW: u64 = 3_779;

impl Detail {
    /// By its name.
    pub fn named(name: &str) -> Self {
        if name == "low" { Self::Low } else { Self::High }
    }

    /// The most that an image can cost.
    pub fn bound(self) -> u64 {
        match self {
            Self::Low => MOST_LOW,
            Self::High => MOST,
        }
    }
}

/// About how many tokens an image of that size is.
pub fn tokens(size: Option<Size>, detail: Detail) -> u64 {
    let tiles = match (detail, size) {
        (Detail::Low, _) => 0,
        (Detail::High, Some(size)) => size.tiles(),
        (Detail::High, None) => MOST_TILES,
    };
    tiles.saturating_mul(TILE).saturating_add(BASE)
}

impl Size {
    fn new(width: u32, height: u32) -> Option<Self> {
        (width > 0 && height > 0).then_some(Self { width, height })
    }

    /// The size of the image in a data URL: PNG, JPEG, GIF or WebP, whatever the URL calls it.
    pub fn of_url(url: &str) -> Option<Self> {
        let data = Base64::of_url(url)?;
        match data.read(0)? {
            [0x89, b'P', b'N', b'G'] => {
                Self::new(u32::from_be_bytes(data.read(16)?), u32::from_be_bytes(data.read(20)?))
            }
            [b'G', b'I', b'F', b'8'] => {
                let side = |at| data.read(at).map(|bytes| u16::from_le_bytes(bytes).into());
                Self::new(side(6)?, side(8)?)
            }
            [b'R', b'I', b'F', b'F'] if data.read(8)? == *b"WEBP" => Self::of_webp(data),
            [0xFF, 0xD8, ..] => Self::of_jpeg(data),
            _ => None,
        }
    }

    /// See RFC 9649.
    fn of_webp(data: Base64<'_>) -> Option<Self> {
        match &data.read(12)? {
            b"VP8 " => {
                let side = |at| data.read(at).map(|bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF));
                Self::new(side(26)?, side(28)?)
            }
            b"VP8L" => {
                let sides = u32::from_le_bytes(data.read(21)?);
                let side = |sides: u32| (sides & 0x3FFF).saturating_add(1);
                Self::new(side(sides), side(sides.wrapping_shr(14)))
            }
            b"VP8X" => {
                let side = |at| {
                    let [low, middle, high] = data.read(at)?;
                    Some(u32::from_le_bytes([low, middle, high, 0]).saturating_add(1))
                };
                Self::new(side(24)?, side(27)?)
            }
            _ => None,
        }
    }

    /// Goes from segment to segment up to the one that says the size; what is in the others does not matter.
    fn of_jpeg(data: Base64<'_>) -> Option<Self> {
        const MOST_SEGMENTS: usize = 1_000;
        let mut at = 2_usize;
        for _ in 0..MOST_SEGMENTS {
            let [start, marker] = data.read(at)?;
            match (start, marker) {
                (0xFF, 0xFF) => at = at.checked_add(1)?,
                (0xFF, 0x01 | 0xD0..=0xD8) => at = at.checked_add(2)?,
                (0xFF, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) => {
                    let side = |more: usize| {
                        data.read(at.checked_add(more)?).map(|bytes| u16::from_be_bytes(bytes).into())
                    };
                    return Self::new(side(7)?, side(5)?);
                }
                (0xFF, 0xC4..=0xFE) => {
                    let length = u16::from_be_bytes(data.read(at.checked_add(2)?)?);
                    at = at.checked_add(2)?.checked_add(length.into())?;
                }
                _ => return None,
            }
        }
        None
    }

    /// How many tiles cover it. Small images stay as they are.
    fn tiles(self) -> u64 {
        let (mut shorter, mut longer) =
            (u64::from(self.width.min(self.height)), u64::from(self.width.max(self.height)));
        let scaled =
            |side: u64, from: u64, to: u64| side.saturating_mul(to).checked_div(from).unwrap_or(to).max(1);
        if longer > LONGEST_SIDE {
            (shorter, longer) = (scaled(shorter, longer, LONGEST_SIDE), LONGEST_SIDE);
        }
        if shorter > LONGEST_SHORTER_SIDE {
            (longer, shorter) = (scaled(longer, shorter, LONGEST_SHORTER_SIDE), LONGEST_SHORTER_SIDE);
        }
        shorter.div_ceil(TILE_SIDE).saturating_mul(longer.div_ceil(TILE_SIDE))
    }
}

#[cfg(test)]
mod tests;
