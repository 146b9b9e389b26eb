//! What the simulated provider says, and how it counts tokens.

/// Said from the beginning, again and again, one word for one token.
const TEXT: &str = "This is a simulated answer from the provider built into Tollgate. It arrives word by word, as a \
    real one would, so that streaming, limits, budgets and usage can be seen at work without an account. Every word \
    counts as one token, and the words are always the same. Point a model at a real upstream and the same requests \
    will be answered by it. Until then, enjoy the view.";

/// The words of one answer, each with the space before it. The last one ends the sentence if the answer is whole.
pub fn words(count: u64, choice: u64, whole: bool) -> impl Iterator<Item = String> {
    // Each choice begins with another sentence, so that they can be told apart.
    let sentences = TEXT.split_inclusive(". ").count();
    let skipped = usize::try_from(choice).unwrap_or(0) % sentences;
    let begin: usize = TEXT.split_inclusive(". ").take(skipped).map(str::len).sum();
    let text = TEXT.get(begin..).unwrap_or(TEXT);
    let endless = text.split_ascii_whitespace().chain(TEXT.split_ascii_whitespace().cycle());
    (1..=count).zip(endless).map(move |(number, word)| {
        let space = if number == 1 { "" } else { " " };
        let word = if number == count && whole { word.trim_end_matches(['.', ',']) } else { word };
        let stop = if number == count && whole { "." } else { "" };
        format!("{space}{word}{stop}")
    })
}

/// Tokens of a text, roughly as real tokenizers see it: four letters or digits make one, and so does every other
/// character that is not white space.
pub fn tokens(text: &str) -> u64 {
    let mut count = 0;
    let mut run = 0_u64;
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            count += u64::from(run.is_multiple_of(4));
            run += 1;
        } else {
            count += u64::from(!character.is_whitespace());
            run = 0;
        }
    }
    count
}
