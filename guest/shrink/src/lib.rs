//! Makes modules and components smaller: Binaryen's `wasm-opt` takes a sixth off what the compiler makes of the guests.
//!
//! A component is a list of sections, and some of them are modules. Each module is replaced by a smaller one with the same
//! imports and exports, names of things inside are left out, and every other section stays as it is. See the [component
//! model's binary format](https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// What modules and components begin with, before the word that tells one from the other.
const MAGIC: &[u8] = b"\0asm";
const MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// Sections of a component that this reads.
const CUSTOM_SECTION: u8 = 0;
const MODULE_SECTION: u8 = 1;

/// What is for readers only.
const NAMES: [&[u8]; 3] = [b"component-name", b"name", b"producers"];

/// What the compiler takes for granted of whoever runs wasm; nothing more may come into a module.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// The module or component in a file, made smaller.
///
/// # Errors
/// When the file cannot be read, and as [`shrink`].
pub fn smaller(file: &Path) -> Result<Vec<u8>> {
    let wasm = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    shrink(&wasm).with_context(|| format!("make {} smaller", file.display()))
}

/// Makes a module, or the modules of a component, smaller.
///
/// # Errors
/// When `wasm-opt` is not there or fails, or the bytes are neither.
pub fn shrink(wasm: &[u8]) -> Result<Vec<u8>> {
    let (magic, rest) = wasm.split_at_checked(MAGIC.len()).context("these are too few bytes for wasm")?;
    ensure!(magic == MAGIC, "this is no wasm: a module in its text format cannot be made smaller");
    match rest.split_first_chunk::<4>() {
        Some((&MODULE, _)) => optimized(wasm),
        Some((&COMPONENT, sections)) => shrink_component(sections),
        _ => bail!("this is wasm of a kind that is not known here"),
    }
}

fn shrink_component(mut sections: &[u8]) -> Result<Vec<u8>> {
    let mut component = [MAGIC, &COMPONENT].concat();
    while let Some((&kind, rest)) = sections.split_first() {
        let (section, others) = prefixed(rest)?;
        sections = others;
        let section = match kind {
            MODULE_SECTION => shrink(section)?,
            CUSTOM_SECTION if NAMES.contains(&prefixed(section)?.0) => continue,
            _ => section.to_vec(),
        };
        component.push(kind);
        write_length(section.len(), &mut component)?;
        component.extend_from_slice(&section);
    }
    Ok(component)
}

/// A module as `wasm-opt` makes it.
fn optimized(module: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("no folder for files in between")?;
    let (before, after) = (folder.path().join("before.wasm"), folder.path().join("after.wasm"));
    fs::write(&before, module)?;
    let mut command = Command::new("wasm-opt");
    command.arg(&before).arg("-o").arg(&after).args(["-Oz", "--strip-debug", "--strip-producers"]);
    let status = command.args(FEATURES).status().context(
        "`wasm-opt` could not be started; it is part of Binaryen: mend it with `apt install binaryen`",
    )?;
    ensure!(status.success(), "`wasm-opt` failed: {status}");
    Ok(fs::read(&after)?)
}

/// Bytes behind their length, and what follows them.
fn prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0_usize, 0_u32);
    for (index, &byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7f).wrapping_shl(shift);
        if byte & 0x80 == 0 {
            let (_, rest) = bytes.split_at(index.saturating_add(1));
            return rest.split_at_checked(length).context("a section ends too early");
        }
        shift = shift.saturating_add(7);
        ensure!(shift < u32::BITS, "a section is too long");
    }
    bail!("a length ends too early")
}

/// Writes a length as LEB128.
fn write_length(length: usize, to: &mut Vec<u8>) -> Result<()> {
    let mut rest = u32::try_from(length).context("a section is too long")?;
    loop {
        let low = u8::try_from(rest & 0x7f)?;
        rest = rest.wrapping_shr(7);
        if rest == 0 {
            to.push(low);
            return Ok(());
        }
        to.push(low | 0x80);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// `(func (export "a") (result i32) i32.const 20 i32.const 22 i32.add)`, and a custom section.
    const ADDS: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x05\x01\x01a\0\0\
        \x0a\x09\x01\x07\0\x41\x14\x41\x16\x6a\x0b\0\x09\x04name\0\x02\x01a";

    #[test]
    fn a_module_is_smaller_and_has_the_same_exports() {
        let small = shrink(ADDS).unwrap();
        assert!(small.len() < ADDS.len());
        let exports = b"\x07\x05\x01\x01a\0\0";
        assert!(small.windows(exports.len()).any(|bytes| bytes == exports), "{small:?}");
        assert!(small.windows(3).any(|bytes| bytes == b"\x41\x2a\x0b"), "it is added up: {small:?}");
    }

    #[test]
    fn of_a_component_the_modules_are_replaced_and_names_left_out() {
        let mut component = [MAGIC, &COMPONENT].concat();
        let names = b"\x0ecomponent-nameabc";
        let others = [(7_u8, &b"types"[..]), (0, b"\x05otherxyz")];
        for (kind, section) in [(1, ADDS), (0, &names[..])].into_iter().chain(others) {
            component.push(kind);
            write_length(section.len(), &mut component).unwrap();
            component.extend_from_slice(section);
        }
        let small = shrink(&component).unwrap();
        let module = shrink(ADDS).unwrap();
        let mut wanted = [MAGIC, &COMPONENT].concat();
        for (kind, section) in [(1, &module[..])].into_iter().chain(others) {
            wanted.push(kind);
            write_length(section.len(), &mut wanted).unwrap();
            wanted.extend_from_slice(section);
        }
        assert_eq!(small, wanted);
    }

    #[test]
    fn what_is_no_wasm_is_refused() {
        for bytes in [&b""[..], b"\0as", b"(module)", b"\0asm", b"\0asm\x02\0\0\0"] {
            assert!(shrink(bytes).is_err(), "{bytes:?}");
        }
        let cut = [MAGIC, &COMPONENT, b"\x01\x20abc"].concat();
        assert!(format!("{:#}", shrink(&cut).unwrap_err()).contains("ends too early"));
        let endless = [MAGIC, &COMPONENT, b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"].concat();
        assert!(shrink(&endless).is_err());
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0_usize, 1, 127, 128, 300, 16_384, 70_000] {
            let mut bytes = Vec::new();
            write_length(length, &mut bytes).unwrap();
            bytes.resize(bytes.len() + length, 7);
            assert_eq!(prefixed(&bytes).unwrap().0.len(), length);
        }
    }
}
