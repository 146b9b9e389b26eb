use proptest::prelude::*;

use super::*;

/// A data URL of these bytes.
fn url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("data:image/whatever;base64,");
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { letter.into() } else { '=' });
        }
    }
    text
}

fn png(width: u32, height: u32) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]]
        .concat()
}

fn jpeg(before: &[&[u8]], marker: u8, width: u16, height: u16) -> Vec<u8> {
    let size = [&[0xFF, marker, 0, 17, 8][..], &height.to_be_bytes(), &width.to_be_bytes()].concat();
    [&b"\xff\xd8"[..], &before.concat(), &size].concat()
}

fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    Size::of_url(&url(bytes)).map(|size| (size.width, size.height))
}

#[test]
fn sizes_are_read() {
    assert_eq!(size(&png(640, 70_000)), Some((640, 70_000)));
    assert_eq!(size(b"GIF89a\x40\x01\xc8\x00rest"), Some((320, 200)));
    let webp = |chunk: &[u8]| [b"RIFF\0\0\0\0WEBP", chunk].concat();
    assert_eq!(size(&webp(b"VP8 \0\0\0\0\x30\x01\0\x9d\x01\x2a\x80\x02\xe0\x41")), Some((640, 480)));
    assert_eq!(size(&webp(b"VP8L\0\0\0\0\x2f\x7f\xc2\x77\x00")), Some((640, 480)));
    assert_eq!(size(&webp(b"VP8X\0\0\0\0\x10\0\0\0\x7f\x02\0\xdf\x01\0")), Some((640, 480)));
}

#[test]
fn the_size_of_a_jpeg_stands_behind_other_segments() {
    let app = [&b"\xff\xe1\xff\xff"[..], &[0xC0; 65_533]].concat();
    let table = b"\xff\xc4\0\x04\xff\xc0";
    for marker in [0xC0, 0xC1, 0xC2, 0xCF] {
        assert_eq!(size(&jpeg(&[&app, &app, table, b"\xff\xff"], marker, 4032, 3024)), Some((4032, 3024)));
    }
    // Nothing but segments, and one that does not say how long it is.
    assert_eq!(size(&jpeg(&[&b"\xff\xfe\0\x02".repeat(2_000)], 0xC0, 1, 1)), None);
    assert_eq!(size(b"\xff\xd8\xff\xe0\0"), None);
    assert_eq!(size(b"\xff\xd8\0\0\0\0"), None);
}

#[test]
fn what_has_no_size_has_none() {
    for bytes in [&b""[..], b"\x89PNG", b"GIF8", b"RIFF\0\0\0\0WAVEVP8 ", b"<svg/>", &png(0, 5), &png(5, 0)] {
        assert_eq!(size(bytes), None, "{bytes:?}");
    }
    for url in ["", "https://img.test/cat.png", "data:image/png,abc", "data:image/png;base64,iVBORw0K GgoA"] {
        assert_eq!(Size::of_url(url), None, "{url}");
    }
}

#[test]
fn an_image_costs_by_its_tiles() {
    let high = |width, height| tokens(Size::new(width, height), Detail::named("auto"));
    // OpenAI's own examples.
    assert_eq!(high(1024, 1024), 765);
    assert_eq!(high(2048, 4096), 1105);
    assert_eq!(high(4096, 8192), 1105);
    assert_eq!(high(512, 512), 85 + 170);
    assert_eq!(high(1, 1), 85 + 170);
    assert_eq!(high(513, 512), 85 + 2 * 170);
    assert_eq!(high(2048, 768), 85 + 8 * 170);
    assert_eq!(high(u32::MAX, 1), 85 + 4 * 170);
    assert_eq!(tokens(Size::new(4096, 8192), Detail::named("low")), 85);
    assert_eq!(tokens(None, Detail::named("low")), 85);
    assert_eq!(tokens(None, Detail::default()), 1445, "the most there is");
}

proptest! {
    #[test]
    fn no_image_costs_more_than_one_of_unknown_size(width in 1_u32.., height in 1_u32..) {
        let known = tokens(Size::new(width, height), Detail::High);
        prop_assert!((255..=tokens(None, Detail::High)).contains(&known));
        prop_assert!(known <= Detail::High.bound());
        prop_assert_eq!(size(&png(width, height)), Some((width, height)));
    }

    #[test]
    fn any_bytes_are_read(start in 0..6_usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let starts: [&[u8]; 6] = [b"", b"\x89PNG", b"GIF8", b"RIFF\0\0\0\0WEBPVP8L", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X"];
        size(&[starts[start], &bytes].concat());
    }
}
