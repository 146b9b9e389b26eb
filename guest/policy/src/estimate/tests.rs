use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Text {
    let mut read = Text::default();
    read.add(text.as_bytes());
    read
}

#[test]
fn texts_are_estimated_by_what_follows_what() {
    // Near what o200k_base makes of each; how near estimates are over many texts is measured in tests/estimates.
    for (text, tokens) in [
        ("", 0..=0),
        ("a", 1..=1),
        ("Hello there", 2..=2),
        ("The quick brown fox jumps over the lazy dog.", 9..=11),
        ("お世話になっております。", 5..=8),
        ("这是一个简单的测试。", 5..=7),
        ("안녕하세요, 반갑습니다.", 6..=9),
        ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", 19..=24),
        ("3.14159265358979", 6..=8),
        ("                                        ", 1..=2),
        ("==============================================", 1..=4),
    ] {
        let estimate = read(text).tokens();
        assert!(tokens.contains(&estimate), "{text:?}: {estimate}");
    }
}

#[test]
fn a_new_line_begins_as_a_text_does() {
    let mut second = read("Hello there");
    second.begin_line();
    second.add(b"Hello there");
    let mut third = second;
    third.begin_line();
    third.add(b"Hello there");
    assert_eq!([read("Hello there"), second, third].map(|text| text.tokens()), [2, 4, 7]);
    let mut cut = read("");
    cut.add("あ".as_bytes().split_at(2).0);
    assert_eq!(cut.tokens(), 1, "a character that does not end");
    cut.begin_line();
    cut.add(b"a");
    let unreadable = {
        let mut read = read("\u{FFFD}");
        read.begin_line();
        read.add(b"a");
        read
    };
    assert_eq!(cut, unreadable);
}

#[test]
fn an_input_is_what_is_read_and_what_frames_it() {
    let mut input = Input::default();
    input.add_text("Hello there");
    input.add_number();
    input.add_frame(2, false);
    assert_eq!(input.tokens(), 2 + 1 + 6 + 3);
    assert_eq!(input.bound(50), 50);
    let part = Part::default();
    input.add_part(PartKind::Image, &part);
    assert_eq!((input.tokens(), input.bound(50)), (12 + 85 + 8 * 170, 50 + 48_169));
    input.add_frame(u64::MAX, true);
    assert_eq!(input.tokens(), u64::MAX);
}

#[test]
fn parts_cost_what_is_published() {
    let cost = |kind, text: &str| {
        let mut part = Part::default();
        part.data(kind, text);
        let cost = part.cost(kind);
        (cost.estimate, cost.bound)
    };
    // A second of MP3, 8,000 bytes.
    assert_eq!(cost(PartKind::Sound, &"AAAA".repeat(8_000 / 3)), (10, 10));
    // RIFF, WAVE and 16,000 bytes a second; three seconds.
    let wav = format!("UklGRgAAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAA{}", "AAAA".repeat(16_000 - 12));
    assert_eq!(cost(PartKind::Sound, &wav), (30, 30));
    assert_eq!(cost(PartKind::File, "data:application/pdf;base64,JVBERi0x"), (1, 1_047_576));
    let mut detail = Part::default();
    detail.detail("low");
    assert_eq!(detail.cost(PartKind::Image), part::Cost { estimate: 85, bound: 3_779, unread: 0 });
    assert_eq!(
        Part::default().cost(PartKind::File),
        part::Cost { estimate: 3_000, bound: 1_047_576, unread: 0 }
    );
}

/// Text of every kind, and of kinds that follow each other.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[a-zA-Z0-9+/=_-]{0,80}",
        "( ?[a-zA-Z]{1,12}){0,9}",
        "[ \\t\\n!-/:-@]{0,9}",
        "[ぁ-んァ-ヶ一-龥가-힣]{0,9}",
        "[а-яé-ÿα-ωء-ي]{0,9}",
        any::<String>(),
    ];
    prop::collection::vec(pieces, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same(text in any_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces = Text::default();
        cuts.windows(2).for_each(|cut| pieces.add(&bytes[cut[0]..cut[1]]));
        prop_assert_eq!(pieces, read(&text));
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..9) {
        let (mut whole, mut pieces) = (Text::default(), Text::default());
        whole.add(&bytes);
        bytes.chunks(size).for_each(|piece| pieces.add(piece));
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn units_of_utf_16_give_the_same(text in any_text()) {
        let mut units = Text::default();
        text.encode_utf16().for_each(|unit| units.add_unit(unit));
        // A character of four bytes is told by its first ten bits in both.
        let parts = |text: &Text| text.tokens();
        prop_assert_eq!(parts(&units), parts(&read(&text)));
    }

    #[test]
    fn no_text_costs_more_than_its_bytes(text in any_text()) {
        prop_assert!(read(&text).tokens() <= text.len() as u64);
    }

    #[test]
    fn more_text_never_costs_less(text in any_text(), more in any_text()) {
        prop_assert!(read(&text).tokens() <= read(&(text + &more)).tokens());
    }

    #[test]
    fn the_state_is_small(text in any_text()) {
        let encoded = postcard::to_allocvec(&read(&text)).expect("encoded");
        prop_assert!(encoded.len() <= 12, "{}", encoded.len());
    }
}
