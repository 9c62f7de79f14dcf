//! Rust sources as the walls see them: code without comments, the string literals apart, unit tests left out.

use std::path::{Path, PathBuf};

/// One Rust file of the project.
pub struct RustFile {
    /// From the repository's root, with `/`: `src/sym/graph.rs`.
    pub path: String,
    /// The code; comments and the contents of literals are blanks, line breaks stay.
    pub code: String,
    /// String literals with the byte at which they begin.
    pub strings: Vec<(usize, String)>,
}

impl RustFile {
    pub fn line(&self, byte: usize) -> usize {
        self.code[..byte].matches('\n').count() + 1
    }

    /// Names of the modules from the crate's root down to this file: `["sym", "graph"]`.
    pub fn modules(&self) -> Vec<&str> {
        let inside = self.path.split_once("src/").map_or("", |(_, inside)| inside).trim_end_matches(".rs");
        inside.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }
}

/// All Rust files below the folders, without those of unit tests.
pub fn read_all(folders: &[&str]) -> Vec<RustFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), &mut paths));
    paths.sort();
    paths.iter().map(|path| read(root, path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> RustFile {
    let text = std::fs::read_to_string(path).unwrap();
    let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    let (code, mut strings) = strip(&text);
    let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    strings.retain(|&(at, _)| at < end);
    RustFile { path: relative, code: code[..end].into(), strings }
}

/// Blanks comments and the contents of literals, and gathers the strings.
pub fn strip(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = literal_or_comment(rest, &code);
        if length == 0 {
            let next = rest.chars().next().unwrap();
            code.push(next);
            at += next.len_utf8();
            continue;
        }
        let piece = &rest[..length];
        if let Some(content) = string_content(piece) {
            strings.push((at, content.to_string()));
        }
        code.extend(piece.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        at += length;
    }
    (code, strings)
}

/// Bytes of the comment, string or character that `rest` begins with; 0 for anything else.
fn literal_or_comment(rest: &str, before: &str) -> usize {
    let to =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return to("*/", 2);
    }
    let after_word = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    if !after_word && (rest.starts_with("r\"") || rest.starts_with("r#")) {
        let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
        return match rest[1 + hashes..].starts_with('"') {
            true => to(&format!("\"{}", "#".repeat(hashes)), hashes + 2),
            false => 0,
        };
    }
    match rest.chars().next() {
        Some('"') => quoted(rest, b'"'),
        Some('\'') if is_character(rest) => quoted(rest, b'\''),
        _ => 0,
    }
}

/// A character literal, not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

fn quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn string_content(piece: &str) -> Option<&str> {
    let inner = piece.trim_start_matches('r').trim_matches('#');
    inner.strip_prefix('"')?.strip_suffix('"')
}

/// The functions of a file: name, first line, number of lines.
pub fn functions(file: &RustFile) -> Vec<(String, usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in file.code.match_indices("fn ") {
        let rest = &file.code[at + 3..];
        let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
        if name.is_empty() || file.code[..at].ends_with(is_word) {
            continue;
        }
        if let Some(length) = body_end(rest) {
            found.push((name, file.line(at), rest[..length].matches('\n').count() + 1));
        }
    }
    found
}

/// Where the body that follows a signature ends; `None` for one without a body.
fn body_end(rest: &str) -> Option<usize> {
    let open = rest.find('{')?;
    if rest[..open].contains(';') && !rest[..open].contains('[') {
        return None;
    }
    let mut depth = 0;
    for (at, byte) in rest.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
