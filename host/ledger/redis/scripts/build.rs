//! Names each script by its hash, so that whoever runs one has no need to put it together, or to hash it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use sha1_smol::Sha1;

include!("src/table.rs");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=lua");
    println!("cargo::rerun-if-changed=src/table.rs");
    let mut scripts = String::new();
    for (at, (name, parts)) in TABLE.iter().enumerate() {
        let hash = Sha1::from(parts.concat()).digest().to_string();
        writeln!(
            scripts,
            "pub(crate) static {name}: Script = Script {{ parts: TABLE[{at}].1, hash: {hash:?} }};"
        )?;
    }
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(folder.join("scripts.rs"), scripts)?;
    Ok(())
}
