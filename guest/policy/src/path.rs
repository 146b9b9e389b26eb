//! Names as paths: a key is `organisation/team/key`, of one to three parts, and every shorter path around it is a
//! scope.
//!
//! A path is a key or a scope, never both, so that each cell of the ledger has one meaning.

/// Parts of a key's name, at most.
pub const KEY_PARTS: usize = 3;

/// Parts of a scope's name, at most.
pub const SCOPE_PARTS: usize = 2;

const LONGEST_PART: usize = 64;

/// Whether a name is a path of at most `most` parts, each 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub fn is_sound(name: &str, most: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let sound = |part: &str| (1..=LONGEST_PART).contains(&part.len()) && part.bytes().all(fits);
    name.split('/').take(most.saturating_add(1)).count() <= most && name.split('/').all(sound)
}

/// What a name must look like, for a message. Never quotes one: someone may have put the key itself there.
pub fn form(what: &str, most: usize) -> String {
    let example = if most == KEY_PARTS { "organisation/team/key" } else { "organisation/team" };
    format!(
        "a {what}'s name has 1 to {most} parts such as `{example}`, each 1 to {LONGEST_PART} of the characters \
         A-Z a-z 0-9 . _ -"
    )
}

/// The scopes around a path, outermost first, without the path itself.
pub fn around(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_of_plain_parts() {
        for good in ["a", "acme/ml/alice.1", "A-Z_9/x"] {
            assert!(is_sound(good, KEY_PARTS), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a/b/c/d", "a b", "a/ü", "tg_é", &"x".repeat(65)] {
            assert!(!is_sound(bad, KEY_PARTS), "{bad}");
        }
        assert!(is_sound("a/b", SCOPE_PARTS) && !is_sound("a/b/c", SCOPE_PARTS));
    }

    #[test]
    fn a_path_lies_in_every_scope_before_its_slashes() {
        assert_eq!(around("acme/ml/alice").collect::<Vec<_>>(), ["acme", "acme/ml"]);
        assert_eq!(around("alice").count(), 0);
    }
}
