//! `[prices]`, of which the shell reads `file`; what else the table says is the policy's.

use std::path::PathBuf;

use tollgate_document::{Problems, Section};

pub(crate) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Option<PathBuf> {
    let file = root.get("prices")?.section(problems)?.get("file")?;
    let name = file.text(problems)?;
    if name.is_empty() {
        file.wrong(problems, "must be the path of a price list");
        return None;
    }
    Some(name.into())
}
